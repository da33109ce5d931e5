//! Glue.
use crate::pb;
use crate::policy::Terms;
use crate::roots::{OpenRoots, Served};
use std::sync::Arc;
use xfer_engine::sink::Sink;
use xfer_engine::source::Source;
use xfer_engine::{Class, Error};

type Uploaded = (Arc<dyn Sink>, Vec<Vec<u8>>);

pub(crate) fn sink(_s: &Served, _d: &[u8], _u: &pb::Upload, _t: &Terms) -> Result<Uploaded, Error> {
    Err(Error::new(Class::Other, "no sink"))
}

pub(crate) fn source(
    _r: &OpenRoots,
    _d: &pb::Download,
    _t: &Terms,
) -> Result<(Arc<dyn Source>, Vec<pb::SourceInfo>), Error> {
    Err(Error::new(Class::Other, "no source"))
}
