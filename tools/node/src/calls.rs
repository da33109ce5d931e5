//! What a call holds of the node while it comes and while it is answered: its place, and the bytes of its request, counted as they arrive.
//!
//! [`crate::listen::TokenCheck`] puts a [`Call`] into each request that it admits; this layer goes around request and answer with it.

use crate::clients::{Call, Excess};
use crate::limits::REQUEST_TIMEOUT;
use crate::status;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, BoxFuture, Bytes, Service};
use tower::Layer;
use xfer_engine::{Class, Error};

/// Goes around the services of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted;

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountedService { inner }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub(crate) struct CountedService<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for CountedService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = request.extensions().get::<Arc<Call>>().cloned();
        let counted = call.clone();
        let request = request.map(|body| match counted {
            Some(call) => Body::new(Arriving { body, call, deadline: Box::pin(sleep(REQUEST_TIMEOUT)) }),
            None => body,
        });
        let answered = self.inner.call(request);
        Box::pin(async move { Ok(answered.await?.map(|body| Body::new(Leaving { body, _call: call }))) })
    }
}

/// A request, each byte of which is counted.
struct Arriving {
    body: Body,
    call: Arc<Call>,
    deadline: Pin<Box<Sleep>>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                Poll::Ready(Some(Err(late())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let taken = frame.data_ref().map_or(Ok(()), |bytes| self.call.take(bytes.len()));
                Poll::Ready(Some(taken.map(|()| frame).map_err(refused)))
            }
            Poll::Ready(other) => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// As a call is told that a bound was met.
pub(crate) fn refused(excess: Excess) -> Status {
    status::with_code(tonic::Code::ResourceExhausted, &excess.error())
}

fn late() -> Status {
    let error = Error::new(Class::Temporary, "the request did not come in time");
    status::with_code(tonic::Code::DeadlineExceeded, &error)
}

/// An answer: the call has its place until the end of it.
struct Leaving {
    body: Body,
    _call: Option<Arc<Call>>,
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
