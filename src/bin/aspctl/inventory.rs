//! Not yet.

use std::process::ExitCode;

use crate::{args, args::Global, error::Error, terminal::Terminal};

pub(crate) async fn list(_args: &args::List, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}

pub(crate) async fn get(_args: &args::Get, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}

pub(crate) async fn delete(_args: &args::Delete, _global: &Global, _terminal: &Terminal) -> Result<ExitCode, Error> {
    todo!()
}
