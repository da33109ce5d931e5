//! What a failed call says, as the error that the user is shown.

use crate::pb;
use prost::Message as _;
use tonic::{Code, Status};
use xfer_engine::{Class, Error, Side};

/// The error of a failed call to `node`: exact when the node sent details, else by the code.
pub(crate) fn error(status: &Status, node: &str) -> Error {
    match details(status) {
        Some(info) => from_info(&info).node(node),
        None => without_details(status, node),
    }
}

fn details(status: &Status) -> Option<pb::ErrorInfo> {
    let details = pb::StatusDetails::decode(status.details()).ok()?;
    let any = details.details.iter().find(|any| any.type_url.ends_with("/xfer.v1.ErrorInfo"))?;
    pb::ErrorInfo::decode(&any.value[..]).ok()
}

/// The error that a node describes.
pub(crate) fn from_info(info: &pb::ErrorInfo) -> Error {
    let class = u8::try_from(info.exit_code).map_or(Class::Other, Class::from_exit_code);
    let message = if info.message.is_empty() { "the node says that the call failed" } else { &info.message };
    let mut error = Error::new(class, message);
    error.side = match info.side() {
        pb::Side::Source => Some(Side::Source),
        pb::Side::Destination => Some(Side::Destination),
        pb::Side::Unspecified => None,
    };
    error.name = (!info.path.is_empty()).then(|| info.path.clone());
    error.node = (!info.node.is_empty()).then(|| info.node.clone());
    error.errno = (info.errno != 0).then_some(info.errno);
    error.offset = info.offset;
    error.causes.clone_from(&info.causes);
    error
}

fn without_details(status: &Status, node: &str) -> Error {
    let class = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => Class::Denied,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => {
            Class::Temporary
        }
        Code::InvalidArgument | Code::OutOfRange => Class::Usage,
        Code::NotFound => Class::NoSource,
        Code::FailedPrecondition | Code::Unimplemented => Class::Refused,
        _ => Class::Other,
    };
    // What went wrong when connecting anew travels inside as it was.
    let mut causes = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<Error>() {
            return error.clone();
        }
        causes.push(inner.to_string());
        cause = inner.source();
    }
    // Nothing that a node says has a cause inside: the connection ended.
    let class = if causes.is_empty() { class } else { Class::Temporary };
    let error = Error::new(class, format!("call {node}"));
    let said = [status.message().to_owned()].into_iter().chain(causes).fold(Vec::new(), |mut said, text| {
        if said.last() != Some(&text) {
            said.push(text);
        }
        said
    });
    said.into_iter().fold(error, Error::because)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_exact() {
        let info = pb::ErrorInfo {
            side: pb::Side::Destination.into(),
            path: b"a\xff".to_vec(),
            errno: 28,
            exit_code: 7,
            offset: Some(9),
            causes: vec!["No space".to_owned()],
            message: "write".to_owned(),
            ..Default::default()
        };
        let any = prost_types::Any {
            type_url: "type.googleapis.com/xfer.v1.ErrorInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let details = pb::StatusDetails { code: 13, message: String::new(), details: vec![any] };
        let status = Status::with_details(Code::Internal, "text", details.encode_to_vec().into());
        let error = error(&status, "n1");
        assert_eq!((error.class, error.side, error.errno), (Class::Fatal, Some(Side::Destination), Some(28)));
        assert_eq!(error.to_string(), "dst n1: write a\\xff at byte 9: No space");
    }

    #[test]
    fn a_connection_that_ends_is_temporary_and_says_why() {
        let reset = std::io::Error::from_raw_os_error(104);
        let error = error(&Status::from_error(reset.into()), "n");
        assert_eq!(error.class, Class::Temporary);
        assert!(error.to_string().contains("reset by peer"), "{error}");
    }

    #[test]
    fn an_error_without_words_is_told_in_words() {
        let any = prost_types::Any { type_url: "/xfer.v1.ErrorInfo".to_owned(), value: Vec::new() };
        let details = pb::StatusDetails { details: vec![any], ..Default::default() };
        let status = Status::with_details(Code::Internal, "text", details.encode_to_vec().into());
        assert!(error(&status, "n1").to_string().contains("failed"));
        assert_eq!(error(&status, "n1").class, Class::Other);
    }

    #[test]
    fn without_details_the_code_decides() {
        assert_eq!(error(&Status::unavailable("x"), "n").class, Class::Temporary);
        assert_eq!(error(&Status::unauthenticated("x"), "n").class, Class::Denied);
        assert_eq!(error(&Status::internal("x"), "n").class, Class::Other);
        let malformed = Status::with_details(Code::NotFound, "x", vec![255; 9].into());
        assert_eq!(error(&malformed, "n").class, Class::NoSource);
    }
}
