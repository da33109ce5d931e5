//! Failures as gRPC tells them: the canonical code, and the exact class, end, path and error number in the details.

use crate::pb;
use prost::Message as _;
use tonic::{Code, Status};
use xfer_engine::{Class, Error, Side};

const TYPE_URL: &str = "type.googleapis.com/xfer.v1.ErrorInfo";

/// The failure of a call.
pub(crate) fn of(error: &Error) -> Status {
    with_code(code(error.class), error)
}

/// The failure of a call whose code says more than its class.
pub(crate) fn with_code(code: Code, error: &Error) -> Status {
    let text = error.to_string();
    let details = pb::StatusDetails {
        code: code as i32,
        message: text.clone(),
        details: vec![prost_types::Any { type_url: TYPE_URL.to_owned(), value: info(error).encode_to_vec() }],
    };
    Status::with_details(code, text, details.encode_to_vec().into())
}

/// The failure as a message.
pub(crate) fn info(error: &Error) -> pb::ErrorInfo {
    let side = match error.side {
        None => pb::Side::Unspecified,
        Some(Side::Source) => pb::Side::Source,
        Some(Side::Destination) => pb::Side::Destination,
    };
    pb::ErrorInfo {
        reason: reason(error.class).to_owned(),
        side: side.into(),
        node: error.node.clone().unwrap_or_default(),
        path: error.name.clone().unwrap_or_default(),
        errno: error.errno.unwrap_or(0),
        exit_code: error.class.exit_code().into(),
        offset: error.offset,
        causes: error.causes.clone(),
        message: error.message.clone(),
    }
}

fn code(class: Class) -> Code {
    match class {
        Class::Other => Code::Unknown,
        Class::Usage => Code::InvalidArgument,
        Class::NoDestination | Class::NoSource => Code::NotFound,
        Class::Temporary => Code::Unavailable,
        Class::Refused => Code::FailedPrecondition,
        Class::Fatal => Code::Internal,
        Class::TransferLimit => Code::ResourceExhausted,
        Class::NothingToDo => Code::AlreadyExists,
        Class::DurationLimit => Code::DeadlineExceeded,
        Class::Denied => Code::PermissionDenied,
        Class::Digest => Code::DataLoss,
        Class::Partial => Code::Aborted,
        Class::Interrupted => Code::Cancelled,
    }
}

fn reason(class: Class) -> &'static str {
    match class {
        Class::Other => "OTHER",
        Class::Usage => "USAGE",
        Class::NoDestination => "NO_DESTINATION",
        Class::NoSource => "NO_SOURCE",
        Class::Temporary => "TEMPORARY",
        Class::Refused => "REFUSED",
        Class::Fatal => "FATAL",
        Class::TransferLimit => "TRANSFER_LIMIT",
        Class::NothingToDo => "NOTHING_TO_DO",
        Class::DurationLimit => "DURATION_LIMIT",
        Class::Denied => "DENIED",
        Class::Digest => "DIGEST",
        Class::Partial => "PARTIAL",
        Class::Interrupted => "INTERRUPTED",
    }
}
