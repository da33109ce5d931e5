//! The calls of a benchmark: its tickets, and what the node's end of it took.

use crate::client::Client;
use crate::limits::{BENCH_WAIT, MESSAGE_LEN_MAX};
use crate::pb::{self, bench_service_client::BenchServiceClient};
use std::time::Duration;
use tonic::transport::Channel;
use xfer_engine::meter::Measured;
use xfer_engine::{Class, Error};

impl Client {
    fn benches(&self) -> BenchServiceClient<Channel> {
        BenchServiceClient::new(self.channel().clone()).max_decoding_message_size(MESSAGE_LEN_MAX)
    }

    /// Asks for a benchmark.
    ///
    /// # Errors
    /// `Refused` where the node serves none or does not allow this one, and those of the call.
    pub(super) fn create_bench(
        &self,
        request: pb::CreateBenchRequest,
    ) -> Result<pb::CreateTransferResponse, Error> {
        self.call(self.benches().create_bench(self.short(request)))
    }

    /// What the node's end of a benchmark took.
    ///
    /// # Errors
    /// `Temporary` when it has not ended in time, else those of the call.
    pub(super) fn bench(&self, name: &str) -> Result<Measured, Error> {
        let wait_ms = u32::try_from(BENCH_WAIT.as_millis()).unwrap_or(u32::MAX);
        let request = pb::GetBenchRequest { name: name.to_owned(), wait_ms };
        let bench = self.call(self.benches().get_bench(self.short(request)))?;
        match bench.state() {
            pb::TransferState::Done | pb::TransferState::Failed => Ok(Measured {
                time: Duration::from_nanos(bench.time_ns),
                cpu: Duration::from_nanos(bench.cpu_ns),
            }),
            _ => Err(Error::new(Class::Temporary, "the node's end has not ended in time")),
        }
    }
}
