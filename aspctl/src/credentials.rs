use crate::{alexa::{AlexaApi, ConnectError}, args::GlobalArgs, terminal::Terminal};
pub(crate) async fn connect(global: &GlobalArgs, _t: &Terminal) -> Result<AlexaApi, ConnectError> { AlexaApi::connect(global).await }
