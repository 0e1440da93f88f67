//! Not yet.

use std::process::ExitCode;

use crate::{args, args::Global, error::Error, terminal::Terminal};

pub(crate) async fn wait(_args: &args::Wait, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}

pub(crate) async fn status(_args: &args::Status, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}
