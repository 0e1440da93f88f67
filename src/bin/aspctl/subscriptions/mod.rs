//! Not yet.

use std::process::ExitCode;

use crate::{args, args::Global, error::Error, terminal::Terminal};

pub(crate) async fn plan(_args: &args::Plan, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}

pub(crate) async fn apply(_args: &args::Apply, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}

pub(crate) async fn destroy(_args: &args::Destroy, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}
