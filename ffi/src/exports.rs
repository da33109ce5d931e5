//! The exported functions.

use crate::client::Client;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::handles;
use crate::input;
use crate::memory::Memory;
use crate::status::{Failure, Outcome, XFER_ERR_BUSY, guard, text_of};
use crate::structs::*;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of a digest or secret.
pub const XFER_SECRET_BYTES: usize = 32;
/// The number of this interface. It grows when functions, fields or values are added; programs that were compiled against a lower one run.
pub const XFER_ABI: u32 = 1;

/// Operations that are read of one batch at once, at most.
const BATCH_MAX: u32 = 1 << 20;

fn nowhere(_: String) {}

/// Runs `body` on a live handle of one kind, which keeps the detail of a failure.
fn on<T: handles::Kind>(number: usize, body: impl FnOnce(&Arc<T>) -> Outcome<c_int>) -> c_int {
    match handles::get::<T>(number) {
        Ok(handle) => guard(|text| handle.keep(text), || body(&handle)),
        Err(failure) => failure.status,
    }
}

/// The number of the interface that this library has: XFER_ABI of its header, or more.
///
/// Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_abi() -> u32 {
    XFER_ABI
}

/// The version of the library, as text that lives as long as the process: "0.1.0".
///
/// Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What a status means, in a few words that live as long as the process; also for numbers that are none.
///
/// Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_strerror(status: c_int) -> *const c_char {
    text_of(status).as_ptr()
}

/// Writes why the last call that failed on `handle` (an engine, connection, memory or client) did, into `text` of `size` bytes, with a NUL.
/// Empty when none failed. Of calls on several threads it is that of the one that failed last.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_detail(handle: *const c_void, text: *mut c_char, size: usize) -> c_int {
    guard(nowhere, || {
        let handle = handles::any(handle.addr());
        let handle = handle.ok_or_else(|| Failure::new(crate::status::XFER_ERR_HANDLE, ""))?;
        let detail = handle.detail().text();
        if text.is_null() || size == 0 {
            return Err(Failure::argument("no room"));
        }
        input::put_text(text, size, &detail)?;
        Ok(0)
    })
}

/// Fills `secret` with XFER_SECRET_BYTES random bytes of the kernel.
///
/// Threads: any. Errors: XFER_ERR_ARGUMENT, XFER_ERR_FATAL when the kernel has none.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_secret(secret: *mut u8) -> c_int {
    guard(nowhere, || {
        let mut bytes = [0u8; XFER_SECRET_BYTES];
        // SAFETY: the kernel writes at most as many bytes as there are.
        let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if usize::try_from(count) != Ok(bytes.len()) {
            return Err(Failure::new(crate::status::XFER_ERR_FATAL, "no random bytes"));
        }
        input::put(secret.cast::<[u8; XFER_SECRET_BYTES]>(), bytes)?;
        Ok(0)
    })
}

/// Opens an engine: sockets, worker threads, threads for storage. `*engine` is the caller's to close with xfer_engine_close(). A process may have
/// many; they share nothing.
///
/// Threads: any. Lifetime: `options` and what it points to are read during the call only. Errors, with the reason in `options->error`:
/// XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED, XFER_ERR_FATAL for an address that cannot be bound. Do not fork a process with an engine: calls in the child fail with
/// XFER_ERR_FORKED.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_engine_open(options: *const EngineOptions, engine: *mut *mut EngineHandle) -> c_int {
    let told = input::take(options).map(|options| (options.error, options.error_size as usize));
    let keep = |text: String| {
        if let Ok((to, size)) = told {
            // Where there is no room for a reason it is not told.
            input::put_text(to, size, &text).unwrap_or_default();
        }
    };
    guard(keep, || {
        let options = input::take(options)?;
        input::check_room(engine)?;
        let opened = Arc::new(Engine::open(&options)?);
        let number = handles::enter(opened);
        input::put(engine, std::ptr::without_provenance_mut(number))?;
        Ok(0)
    })
}

/// Closes an engine: ends its threads, which takes up to some seconds. The handle and its eventfd are gone then.
///
/// Threads: any; calls that other threads are in the middle of end first or fail with XFER_ERR_HANDLE. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY while connections,
/// clients or registered memory are open, XFER_ERR_FORKED: nothing is done.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_engine_close(engine: *mut EngineHandle) -> c_int {
    on::<Engine>(engine.addr(), |known| {
        known.running()?;
        known.check_childless()?;
        handles::leave::<Engine>(engine.addr())?;
        Ok(0)
    })
}

/// Writes address number `index` that the engine receives on, with its port, into `text` of `size` bytes (64 are enough), with a NUL.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT where there is no such address, or no room for it.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_engine_address(
    engine: *mut EngineHandle,
    index: u32,
    text: *mut c_char,
    size: usize,
) -> c_int {
    on::<Engine>(engine.addr(), |engine| {
        let address = engine.address(index as usize);
        let shown = address.ok_or_else(|| Failure::argument("no such address"))?.to_string();
        if text.is_null() || size <= shown.len() {
            return Err(Failure::argument("no room for the address"));
        }
        input::put_text(text, size, &shown)?;
        Ok(0)
    })
}

/// Fills in the counters of an engine.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_engine_statistics(
    engine: *mut EngineHandle,
    statistics: *mut EngineStatistics,
) -> c_int {
    on::<Engine>(engine.addr(), |engine| input::fill(statistics, &engine.statistics()).map(|()| 0))
}

/// The engine's eventfd, at least 0: readable while xfer_poll() has something, for epoll, libuv, asyncio. It stays the engine's: do not read, write or close it;
/// xfer_poll() takes the signal back.
///
/// Threads: any. Errors: XFER_ERR_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_engine_eventfd(engine: *mut EngineHandle) -> c_int {
    on::<Engine>(engine.addr(), |engine| Ok(engine.descriptor()))
}

/// Takes up to `capacity` completions into `completions` and returns how many. Waits for the first until `timeout_ns` nanoseconds have passed; 0: does not
/// wait; below 0: for ever. A signal handler that ran ends the wait with 0. What completions point to is valid until the next call.
///
/// Threads: any, one at a time. Lifetime: completions are copies; handles in them may be closed by then. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT,
/// XFER_ERR_BUSY while another thread polls, XFER_ERR_FORKED.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_poll(
    engine: *mut EngineHandle,
    completions: *mut Completion,
    capacity: u32,
    timeout_ns: i64,
) -> c_int {
    on::<Engine>(engine.addr(), |engine| {
        let capacity = capacity.min(BATCH_MAX) as usize;
        let room = input::array_mut(completions, capacity)?;
        Ok(engine.poll(room, timeout_ns)? as c_int)
    })
}

/// Hands operations over, in order, and returns how many were taken. Stops at the first that is not; if that is the first of all, its status is returned,
/// else the next call with it tells. Each operation that was taken has one completion, XFER_OP_FINISH and XFER_OP_CANCEL excepted.
///
/// Threads: any. Ownership: memory of operations that were taken is the engine's until their completion; names and paths are copied. Errors: XFER_ERR_HANDLE
/// (also of the operation's connection), XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED, XFER_ERR_FULL, XFER_ERR_BUSY for memory in use, XFER_ERR_ENDED, XFER_ERR_FORKED.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_submit(engine: *mut EngineHandle, operations: *const Operation, count: u32) -> c_int {
    on::<Engine>(engine.addr(), |engine| submit(engine, operations, count.min(BATCH_MAX)))
}

fn submit(engine: &Arc<Engine>, operations: *const Operation, count: u32) -> Outcome<c_int> {
    engine.running()?;
    let mut taken = 0;
    let mut last: Option<(usize, Arc<Connection>)> = None;
    let mut at = operations;
    let mut failed = None;
    while taken < count {
        let done = input::take(at)
            .and_then(|operation| submit_one(engine, &operation, &mut last).map(|()| operation));
        match done {
            Ok(operation) => at = at.wrapping_byte_add(operation.size as usize),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
        taken += 1;
    }
    if let Some((_, connection)) = &last {
        connection.nudge();
    }
    match failed {
        Some(failure) if taken == 0 => Err(failure),
        Some(failure) => {
            engine.detail().keep(failure.text);
            Ok(taken as c_int)
        }
        None => Ok(taken as c_int),
    }
}

/// Hands one over. `last` is the connection of the one before, which is nudged when another follows.
fn submit_one(
    engine: &Arc<Engine>,
    operation: &Operation,
    last: &mut Option<(usize, Arc<Connection>)>,
) -> Outcome<()> {
    if (XFER_OP_CLIENT_LIST..=XFER_OP_CLIENT_READ).contains(&operation.kind) {
        return handles::get::<Client>(operation.client.addr())?.submit(operation);
    }
    let number = operation.connection.addr();
    if last.as_ref().is_none_or(|(known, _)| *known != number) {
        if let Some((_, connection)) = last.take() {
            connection.nudge();
        }
        let connection = handles::get::<Connection>(number)?;
        if !Arc::ptr_eq(&connection.engine, engine) {
            return Err(Failure::argument("a connection of another engine"));
        }
        *last = Some((number, connection));
    }
    let Some((_, connection)) = last else { return Ok(()) };
    connection.submit(operation).inspect_err(|failure| connection.detail().keep(failure.text.clone()))
}

/// Admits one connection with the secret in `options`, on the addresses that the engine receives on. `*connection` is the caller's to close. Its first completion is
/// XFER_EVENT_CONNECTED, or XFER_EVENT_FINISHED with XFER_ERR_TEMPORARY when nobody came in time.
///
/// Threads: any. Lifetime: `options` and what it points to are read during the call only. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED, XFER_ERR_FORKED.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_admit(
    engine: *mut EngineHandle,
    options: *const ConnectionOptions,
    connection: *mut *mut ConnectionHandle,
) -> c_int {
    on::<Engine>(engine.addr(), |engine| open(engine, options, connection, Connection::admit))
}

/// Connects with the secret in `options`. As xfer_admit(); its XFER_EVENT_FINISHED has XFER_ERR_TEMPORARY when no path answers in time, which is also what a wrong
/// secret leads to: the other end does not answer.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_connect(
    engine: *mut EngineHandle,
    options: *const ConnectionOptions,
    connection: *mut *mut ConnectionHandle,
) -> c_int {
    on::<Engine>(engine.addr(), |engine| open(engine, options, connection, Connection::connect))
}

fn open(
    engine: &Arc<Engine>,
    options: *const ConnectionOptions,
    connection: *mut *mut ConnectionHandle,
    open: fn(&Arc<Engine>, &ConnectionOptions) -> Outcome<Arc<Connection>>,
) -> Outcome<c_int> {
    let options = input::take(options)?;
    input::check_room(connection)?;
    let opened = open(engine, &options)?;
    let number = handles::enter(opened.clone());
    input::put(connection, std::ptr::without_provenance_mut(number))?;
    opened.entered(number);
    Ok(0)
}

/// Closes a connection whose XFER_EVENT_FINISHED was taken. To end one early submit XFER_OP_CANCEL and poll until then.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY before its last completion: nothing is done.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_connection_close(connection: *mut ConnectionHandle) -> c_int {
    on::<Connection>(connection.addr(), |known| {
        known.check_over()?;
        handles::leave::<Connection>(connection.addr())?.left();
        Ok(0)
    })
}

/// Fills in the counters of a connection, as of at most 50 ms ago.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_connection_statistics(
    connection: *mut ConnectionHandle,
    statistics: *mut ConnectionStatistics,
) -> c_int {
    on::<Connection>(connection.addr(), |known| input::fill(statistics, &known.statistics()).map(|()| 0))
}

/// Writes what is known of each path, up to `capacity` elements of `size` bytes (`sizeof(xfer_path_report)`), as of at most 50 ms ago, and returns how many paths there are.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_connection_paths(
    connection: *mut ConnectionHandle,
    paths: *mut PathReport,
    size: usize,
    capacity: u32,
) -> c_int {
    on::<Connection>(connection.addr(), |known| {
        let known = known.paths();
        input::put_array(paths, size, capacity as usize, &known)?;
        Ok(known.len() as c_int)
    })
}

/// Registers memory, so that operations may name parts of it by handle and offset. It stays the application's, which keeps it in place, writable and mapped until it is
/// unregistered. Content of objects of more than a quarter of a chunk is opened in it directly, as in any memory of XFER_OP_ACCEPT.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_memory_register(
    engine: *mut EngineHandle,
    options: *const MemoryOptions,
    memory: *mut *mut MemoryHandle,
) -> c_int {
    on::<Engine>(engine.addr(), |engine| {
        engine.running()?;
        let options = input::take(options)?;
        let (start, len) = (options.data.expose_provenance(), usize::try_from(options.len).unwrap_or(0));
        input::check_room(memory)?;
        if start == 0 || len == 0 || len > isize::MAX as usize - start.min(isize::MAX as usize) {
            return Err(Failure::argument("no memory"));
        }
        if options.flags != 0 {
            return Err(crate::connection::unsupported("a flag of memory"));
        }
        engine.children.fetch_add(1, Ordering::AcqRel);
        let number = handles::enter(Arc::new(Memory::new(engine.clone(), start, len)));
        input::put(memory, std::ptr::without_provenance_mut(number))?;
        Ok(0)
    })
}

/// Lets go of registered memory.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY while an operation uses part of it: nothing is done.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_memory_unregister(memory: *mut MemoryHandle) -> c_int {
    on::<Memory>(memory.addr(), |known| {
        if known.is_used() {
            return Err(Failure::new(XFER_ERR_BUSY, "an operation uses the memory"));
        }
        let known = handles::leave::<Memory>(memory.addr())?;
        known.engine.children.fetch_sub(1, Ordering::AcqRel);
        Ok(0)
    })
}

/// Opens a client of a node. It connects with its first operation, and anew when the connection was lost. `*client` is the caller's to close. Operations of a client are done one after the other, but
/// XFER_OP_CLIENT_READ, of which many are done at once; their completions come through xfer_poll() of the engine.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT for a link that is none, XFER_ERR_UNSUPPORTED where the library was built without the client.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_client_open(
    engine: *mut EngineHandle,
    options: *const ClientOptions,
    client: *mut *mut ClientHandle,
) -> c_int {
    on::<Engine>(engine.addr(), |engine| {
        let options = input::take(options)?;
        input::check_room(client)?;
        let opened = Client::open(engine, &options)?;
        engine.children.fetch_add(1, Ordering::AcqRel);
        let number = handles::enter(opened);
        input::put(client, std::ptr::without_provenance_mut(number))?;
        Ok(0)
    })
}

/// Closes a client.
///
/// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY while an operation has no XFER_EVENT_DONE yet: nothing is done.
#[unsafe(no_mangle)]
pub extern "C" fn xfer_client_close(client: *mut ClientHandle) -> c_int {
    on::<Client>(client.addr(), |known| {
        known.close()?;
        handles::leave::<Client>(client.addr())?.left();
        Ok(0)
    })
}
