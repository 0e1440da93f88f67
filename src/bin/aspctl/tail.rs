//! Not yet.

use std::process::ExitCode;

use crate::{args, args::Global, error::Error, terminal::Terminal};

pub(crate) async fn run(_args: &args::Tail, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}
