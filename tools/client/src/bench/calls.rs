//! The calls of a benchmark: its tickets, and what the node's end of it took.

use crate::client::Client;
use crate::limits::{BENCH_WAIT, MESSAGE_LEN_MAX};
use crate::offer;
use crate::pb::{self, bench_service_client::BenchServiceClient};
use std::net::SocketAddr;
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

    /// Whether the node serves memory to benchmarks, and no files.
    ///
    /// # Errors
    /// Those of the call.
    pub fn serves_benchmarks(&self) -> Result<bool, Error> {
        // Only such a node knows that it has no benchmark of this name.
        match self.call(self.benches().get_bench(self.short(pb::GetBenchRequest::default()))) {
            Ok(_) => Ok(true),
            Err(error) if error.class == Class::NoSource => Ok(true),
            Err(error) if error.class == Class::Refused => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where a node that serves benchmarks takes data. The ticket that tells it is given back.
    ///
    /// # Errors
    /// The node gives no ticket.
    pub(crate) fn bench_addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let answer = self.create_bench(pb::CreateBenchRequest { versions: vec![1], ..Default::default() })?;
        self.give_back(&answer.name, "nothing was to be measured");
        offer::addresses(&answer)
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
