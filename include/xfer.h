/*
 * libxfer: moves objects between two processes over every network interface at once, verified.
 *
 * This file is generated from ffi/src by `cargo xtask gen`. It is the manual.
 *
 * The shape of it. An engine has threads, sockets and one completion queue. Each connection goes in one direction: one end submits objects, the
 * other is offered each and says where it goes. Both ends know a secret of 32 bytes: the one admits it, the other connects with it. How they
 * come to know it is the application's matter; a client of xfer nodes (xfer_client_open) need not know any.
 *
 *     sender                                    receiver
 *     xfer_engine_open                          xfer_engine_open, with addresses to listen on
 *     xfer_connect, XFER_DIRECTION_OPENER_SENDS xfer_admit, XFER_DIRECTION_OPENER_SENDS
 *     xfer_submit(XFER_OP_SEND)                 xfer_poll: XFER_EVENT_OFFERED
 *                                               xfer_submit(XFER_OP_ACCEPT)
 *     xfer_poll: XFER_EVENT_SENT                xfer_poll: XFER_EVENT_RECEIVED
 *     xfer_submit(XFER_OP_FINISH)
 *     xfer_poll: XFER_EVENT_FINISHED            xfer_poll: XFER_EVENT_FINISHED
 *     xfer_connection_close, xfer_engine_close  xfer_connection_close, xfer_engine_close
 *
 * Rules that hold for all of it:
 *
 * - Functions return XFER_OK or a count, or a negative XFER_ERR_, whose numbers never change. xfer_strerror() says what one means, xfer_detail()
 *   why the last call on a handle failed, `text` of a completion why an operation did. What a call returns by pointer is written only when it succeeds.
 * - Structs that go in begin with their size and grow at their end only; zero all of one, set `size`, then what is wanted. Unknown fields
 *   that are not 0 are refused with XFER_ERR_UNSUPPORTED.
 * - A handle is a number in the shape of a pointer. One that is closed, or of another kind, is refused with XFER_ERR_HANDLE. Closing one that has
 *   live children is refused with XFER_ERR_BUSY and does nothing.
 * - Any thread may call any function on any handle at any time; xfer_poll() is one thread's at a time for each engine. Nothing is called back.
 * - Memory that is given to an operation is the engine's from xfer_submit() until the operation's completion is taken, whatever happens
 *   meanwhile: then nothing of the engine reaches it any more. Memory that is received into is not to overlap memory of another operation.
 * - Text is UTF-8. Addresses are text too: "192.0.2.1:4433", "[2001:db8::1]:4433".
 * - A process that has an engine is not to fork, unless the child executes another program at once.
 *
 * Programs that were compiled against an older header run with a newer library of the same soname.
 */

#ifndef XFER_H
#define XFER_H

#include <stddef.h>
#include <stdint.h>

// It worked.
#define XFER_OK 0

// An argument is wrong: a null pointer, a size, an address, a name, memory that overlaps memory in use.
#define XFER_ERR_ARGUMENT -1

// The handle is closed, is none, or is of another kind.
#define XFER_ERR_HANDLE -2

// It is in use: a handle with live children is to be closed, or another thread polls the engine.
#define XFER_ERR_BUSY -3

// As many operations as the connection takes are outstanding: poll, and try again.
#define XFER_ERR_FULL -4

// Nothing may follow: the connection was finished, was cancelled or has ended.
#define XFER_ERR_ENDED -5

// This library does not know the field, flag or operation, or was built without it.
#define XFER_ERR_UNSUPPORTED -6

// A bug of the library: it panicked. What was asked for may have been done in part; close the handles.
#define XFER_ERR_PANIC -7

// The process was forked after the engine was opened: its threads are not here.
#define XFER_ERR_FORKED -8

// Codes of failed transfers, objects and calls are this less the exit code that `xferctl` has for the same failure.
#define XFER_ERR_BASE -100

// A failure without a code of its own.
#define XFER_ERR_OTHER -101

// The request makes no sense.
#define XFER_ERR_USAGE -102

// The destination, or its parent, is not there.
#define XFER_ERR_NO_DESTINATION -103

// The source is not there.
#define XFER_ERR_NO_SOURCE -104

// It may work later: unreachable, out of time, shutting down.
#define XFER_ERR_TEMPORARY -105

// The other end refused it.
#define XFER_ERR_REFUSED -106

// Fatal on an end: no space, an input or output error, an address in use.
#define XFER_ERR_FATAL -107

// Wrong credential, or a permission of the file system.
#define XFER_ERR_DENIED -113

// A digest was wrong even after fetching again: the source changed while it was sent.
#define XFER_ERR_DIGEST -115

// Some objects succeeded and some failed.
#define XFER_ERR_PARTIAL -116

// Ended by either application.
#define XFER_ERR_INTERRUPTED -120

// Workers spin while a connection lives, instead of sleeping.
#define XFER_ENGINE_BUSY 1

// Send with plain system calls only: without segmentation offloads and zero copies. For tests.
#define XFER_ENGINE_PLAIN_SOCKETS 2

// AES-128-GCM.
#define XFER_SUITE_AES_128_GCM 1

// ChaCha20-Poly1305, for processors without AES instructions.
#define XFER_SUITE_CHACHA20_POLY1305 2

// Control is sealed, content goes in the clear: private fabrics only.
#define XFER_SUITE_PLAIN 3

// The end that connects sends objects.
#define XFER_DIRECTION_OPENER_SENDS 1

// The end that admitted the secret sends objects.
#define XFER_DIRECTION_OPENER_RECEIVES 2

// Content carries no BLAKE3 digests: it is not verified, and what changes while it is sent is not found out.
#define XFER_CONNECTION_NO_DIGESTS 1

// Chunks are compressed where that is faster than sending them as they are. Memory is copied then before it is sent.
#define XFER_CONNECTION_COMPRESS 2

// BBR version 3 with tolerance for random loss.
#define XFER_CONGESTION_BBR 1

// CUBIC (RFC 9438).
#define XFER_CONGESTION_CUBIC 2

// Yields to all others (RFC 6817).
#define XFER_CONGESTION_LEDBAT 3

// The rate that `rate_max` says, whatever is lost.
#define XFER_CONGESTION_FIXED 4

// Sends `len` bytes of memory as an object. Up to XFER_SMALL_MAX bytes are copied at once; more stay the engine's until the completion, and are
// not to be changed: if they are, the object fails with XFER_ERR_DIGEST and is not delivered.
#define XFER_OP_SEND 1

// Sends `len` bytes of the regular file `fd` from `offset` on.
#define XFER_OP_SEND_FILE 2

// Sends what comes from `fd` (a pipe, a socket) until its end. Nothing can follow: it finishes the connection.
#define XFER_OP_SEND_STREAM 3

// Receives the offered `object` into memory of at least its size, which is the engine's until the completion.
#define XFER_OP_ACCEPT 4

// Receives the offered `object` into `fd`: into a regular file from `offset` on, in any order; into a pipe or socket in order.
#define XFER_OP_ACCEPT_FILE 5

// Refuses the offered `object`: it fails at the sender with XFER_ERR_REFUSED.
#define XFER_OP_REFUSE 6

// Says that no object follows. The connection ends when all of them have. Has no completion of its own.
#define XFER_OP_FINISH 7

// Ends the connection: what is outstanding fails with XFER_ERR_INTERRUPTED. Has no completion of its own.
#define XFER_OP_CANCEL 8

// Lists the directory `name`: an XFER_EVENT_ENTRY each, then XFER_EVENT_DONE. With XFER_OP_FLAG_RECURSIVE also what is beneath it.
#define XFER_OP_CLIENT_LIST 16

// Describes `name`: one XFER_EVENT_ENTRY, then XFER_EVENT_DONE.
#define XFER_OP_CLIENT_STAT 17

// Copies `name` from the node to the local path in `data`, of `len` bytes, which is copied at once.
#define XFER_OP_CLIENT_GET 18

// Copies the local path in `data`, of `len` bytes, which is copied at once, to `name` on the node.
#define XFER_OP_CLIENT_PUT 19

// Ends what was submitted to the client so far, with XFER_ERR_INTERRUPTED. Has no completion of its own.
#define XFER_OP_CLIENT_CANCEL 20

// Reads up to `len` bytes of the file `name` on the node, from `offset` on, into the memory in `data`, which is the engine's until the completion. The file's end
// cuts the range; one that begins behind it has 0 bytes. The XFER_EVENT_DONE has in `bytes` how many came, in `object` the bytes of the whole file and in
// `mtime_ns` when it had been modified, by which ranges of one state of a file are told. A file that changes meanwhile is XFER_ERR_DIGEST. These are
// read many at once, and end in any order, whatever else the client does; up to 8 MiB each in one round trip.
#define XFER_OP_CLIENT_READ 21

// Directories with all that is in them.
#define XFER_OP_FLAG_RECURSIVE 1

// The next object may be named with this one. That is faster for many objects of a few KiB; the receiver answers for both then before content
// of either moves.
#define XFER_OP_FLAG_MORE 2

// Content of up to so many bytes travels with its object's name: it is copied when it is submitted, and delivered with the offer.
#define XFER_SMALL_MAX 1024

// An object that was submitted has ended: it is with the other application, or failed. Its memory is the application's again.
#define XFER_EVENT_SENT 1

// An object that was accepted has ended: all of it is in its place and verified, or it failed. Its memory is the application's again.
#define XFER_EVENT_RECEIVED 2

// An object arrives. With XFER_COMPLETION_WHOLE it is here already, and nothing is to be answered; else it waits for XFER_OP_ACCEPT,
// XFER_OP_ACCEPT_FILE or XFER_OP_REFUSE, and so do those behind it.
#define XFER_EVENT_OFFERED 3

// The other end is there.
#define XFER_EVENT_CONNECTED 4

// A path became usable; xfer_connection_paths() has all.
#define XFER_EVENT_PATH_UP 5

// A path stopped answering, or lost its link.
#define XFER_EVENT_PATH_DOWN 6

// Something is degraded: see `text`.
#define XFER_EVENT_WARNING 7

// The connection has ended, well or not. It is its last completion: close the handle.
#define XFER_EVENT_FINISHED 8

// An object on a node.
#define XFER_EVENT_ENTRY 16

// An operation of a client has ended.
#define XFER_EVENT_DONE 17

// `data` holds all of the content.
#define XFER_COMPLETION_WHOLE 1

// `digest` is there.
#define XFER_COMPLETION_DIGEST 2

// XFER_EVENT_ENTRY: it is a directory.
#define XFER_COMPLETION_DIRECTORY 4

// XFER_EVENT_ENTRY: it is a symlink.
#define XFER_COMPLETION_SYMLINK 8

// `bytes` of an object whose length only its end will tell.
#define XFER_SIZE_OPEN UINT64_MAX

// Nothing holds it up, or it is not known yet.
#define XFER_STAGE_NONE 0

// Content is read too slowly.
#define XFER_STAGE_SOURCE 1

// Digests are made too slowly.
#define XFER_STAGE_HASH 2

// The sender's processor.
#define XFER_STAGE_SENDER_CPU 3

// The network.
#define XFER_STAGE_PATH 4

// The receiver's processor.
#define XFER_STAGE_RECEIVER_CPU 5

// Content is written too slowly.
#define XFER_STAGE_SINK 6

// `rate_max`.
#define XFER_STAGE_RATE_LIMIT 7

// Bytes of a digest or secret.
#define XFER_SECRET_BYTES 32

// The number of this interface. It grows when functions, fields or values are added; programs that were compiled against a lower one run.
#define XFER_ABI 1

// A client of one node.
typedef struct xfer_client xfer_client;

// A connection and the objects that go over it, in one direction.
typedef struct xfer_connection xfer_connection;

// An engine: its threads, sockets and completion queue. A handle is no address; never look behind it.
typedef struct xfer_engine xfer_engine;

// Memory that was registered with an engine.
typedef struct xfer_memory xfer_memory;

// How an engine is set up. Set `size` to `sizeof(xfer_engine_options)` and leave at 0 what is not to be chosen.
typedef struct xfer_engine_options {
  // Bytes of this struct, as the application was compiled.
  uint32_t size;
  // Worker threads, at most 8; 0: one a core of the affinity mask.
  uint32_t workers;
  // Addresses to receive on, as text: `192.0.2.1:4433`, `[::]:0`. None for an engine that only connects.
  const char *const *listen;
  // How many.
  uint32_t listen_count;
  // XFER_ENGINE_ flags.
  uint32_t flags;
  // Memory for chunk buffers of each connection, in bytes; 0: 64 MiB.
  uint64_t memory_max;
  // Where xfer_engine_open() writes why it failed, as text that ends in NUL; may be null.
  char *error;
  // Bytes there.
  uint32_t error_size;
  // 0.
  uint32_t reserved;
} xfer_engine_options;

// Counters of an engine. Set `size` before the call; as much as both sides know is filled in.
typedef struct xfer_engine_counters {
  // Bytes of this struct, as the application was compiled.
  uint32_t size;
  // Worker threads.
  uint32_t workers;
  // Connections, clients and registered memory that are open.
  uint32_t children;
  // Addresses that it receives on.
  uint32_t addresses;
  // Packets and trains that were sent.
  uint64_t trains;
  // Datagrams that came.
  uint64_t datagrams;
  // Those of them that were given to another worker.
  uint64_t handed_over;
  // Those of them that were lost, since too many waited there.
  uint64_t dropped;
  // Received bytes that were opened where the application wanted them: no copy after decryption.
  uint64_t bytes_in_place;
  // Received bytes that were copied or written there.
  uint64_t bytes_copied;
} xfer_engine_counters;

// What happened. 128 bytes, for ever; what is not used is 0. Pointers are valid until the next xfer_poll() on the engine, and only that long.
typedef struct xfer_completion {
  // The operation's value; for what concerns the connection as a whole and its offers: the connection's.
  uint64_t user;
  // The connection.
  struct xfer_connection *connection;
  // One of XFER_EVENT_.
  uint32_t kind;
  // XFER_OK, or what it failed by.
  int32_t status;
  // The object's number on the connection, from 0 on. XFER_OP_CLIENT_READ: bytes of the whole file.
  uint64_t object;
  // Content bytes: of an object that ended, those that moved; of one that is offered, its size, or XFER_SIZE_OPEN.
  uint64_t bytes;
  // XFER_COMPLETION_ flags.
  uint32_t flags;
  // Bytes of `name`.
  uint32_t name_len;
  // XFER_EVENT_OFFERED, XFER_EVENT_ENTRY: the object's name, without a NUL.
  const char *name;
  // XFER_COMPLETION_WHOLE: the object's content.
  const void *data;
  // Why it failed, or what is warned of: text that ends in NUL; null for none.
  const char *text;
  // XFER_COMPLETION_DIGEST: BLAKE3 of the object.
  uint8_t digest[32];
  // XFER_EVENT_ENTRY, XFER_OP_CLIENT_READ: modification time, nanoseconds since 1970.
  int64_t mtime_ns;
  // XFER_EVENT_ENTRY: permissions, 12 bits.
  uint32_t mode;
  // The error number of the operating system; 0 for none.
  int32_t os_error;
  // 0.
  uint64_t reserved;
} xfer_completion;

// One operation for xfer_submit(). What `kind` does not use is 0.
typedef struct xfer_operation {
  // Bytes of this struct, as the application was compiled; the same in all of a batch.
  uint32_t size;
  // One of XFER_OP_.
  uint32_t kind;
  // Comes back in the completion.
  uint64_t user;
  // The connection.
  struct xfer_connection *connection;
  // XFER_OP_ACCEPT, XFER_OP_ACCEPT_FILE, XFER_OP_REFUSE: the number of the object that was offered.
  uint64_t object;
  // XFER_OP_SEND and its kin: the object's name, relative, components parted by '/'; null: "object". XFER_OP_REFUSE, XFER_OP_CANCEL: why, as
  // text. XFER_OP_CLIENT_: the path on the node. No NUL at its end.
  const char *name;
  // Bytes there, at most 4,095.
  uint32_t name_len;
  // XFER_OP_FLAG_ flags.
  uint32_t flags;
  // Memory to send from or receive into; null where `memory` is given.
  void *data;
  // Bytes there; of a file how many to send.
  uint64_t len;
  // Registered memory to send from or receive into.
  struct xfer_memory *memory;
  // Where to begin: in registered memory, or in a file, here or on the node.
  uint64_t offset;
  // A file descriptor. It is duplicated: the application may close its own once xfer_submit() has returned.
  int32_t fd;
  // 0.
  uint32_t reserved;
  // XFER_OP_CLIENT_: the client.
  struct xfer_client *client;
} xfer_operation;

// A pair of addresses that a path uses.
typedef struct xfer_path_pair {
  // Address of this end, without a port; null: what the kernel's routes say.
  const char *local;
  // Address and port of the other end.
  const char *remote;
} xfer_path_pair;

// A connection that is to be admitted or made. Both ends name the same secret, suite, direction, digests and chunk size.
typedef struct xfer_connection_options {
  // Bytes of this struct, as the application was compiled.
  uint32_t size;
  // One of XFER_SUITE_; 0: XFER_SUITE_AES_128_GCM.
  uint32_t suite;
  // One of XFER_DIRECTION_.
  uint32_t direction;
  // XFER_CONNECTION_ flags.
  uint32_t flags;
  // 32 random bytes that only the two ends know. They admit one connection.
  const uint8_t *secret;
  // Comes back in the completions of the connection itself.
  uint64_t user;
  // To connect: pairs of addresses, the first one first. To admit: not used.
  const struct xfer_path_pair *paths;
  // How many.
  uint32_t path_count;
  // log2 of the chunk size, 16 to 26; 0: 20, which is 1 MiB.
  uint32_t chunk_log2;
  // To connect: how long no path may answer before connecting fails; 0: 10 s. To admit: how long the secret waits for its connection,
  // at most 60 s; 0: 60 s.
  uint32_t timeout_ms;
  // Operations that may be outstanding at once; 0: 4,096; at most 65,536.
  uint32_t depth;
  // Cap of the whole connection in bits a second; 0: none.
  uint64_t rate_max;
  // One of XFER_CONGESTION_; 0: BBR.
  uint32_t congestion;
  // 0.
  uint32_t reserved;
} xfer_connection_options;

// Counters of a connection. Set `size` before the call; as much as both sides know is filled in.
typedef struct xfer_connection_counters {
  // Bytes of this struct, as the application was compiled.
  uint32_t size;
  // What holds it up just now: one of XFER_STAGE_.
  uint32_t limited_by;
  // Content bytes that moved.
  uint64_t bytes;
  // Content bytes of all objects that were named.
  uint64_t bytes_named;
  // Objects that arrived.
  uint64_t objects;
  // Objects that failed.
  uint64_t failed;
  // Bytes of all datagrams, both ways.
  uint64_t wire_bytes;
  // Content bytes that were sent again.
  uint64_t retransmitted_bytes;
  // Operations that have no completion yet.
  uint32_t outstanding;
  // Paths.
  uint32_t paths;
} xfer_connection_counters;

// One path of a connection.
typedef struct xfer_path_report {
  // Address of this end, as text that ends in NUL.
  char local[64];
  // Address and port of the other end, as text that ends in NUL.
  char remote[64];
  // 1 while it carries.
  uint32_t up;
  // Largest datagram, in bytes.
  uint32_t mtu;
  // Content bytes that arrived on it.
  uint64_t bytes;
  // Smoothed round trip.
  uint64_t rtt_ns;
  // Congestion window, in bytes.
  uint64_t window;
  // Packets that were sent.
  uint64_t packets_sent;
  // Packets that came.
  uint64_t packets_received;
  // Of a million packets so many were lost.
  uint32_t loss_ppm;
  // 0.
  uint32_t reserved;
} xfer_path_report;

// Memory to be registered.
typedef struct xfer_memory_options {
  // Bytes of this struct, as the application was compiled.
  uint32_t size;
  // 0.
  uint32_t flags;
  // Where it begins.
  void *data;
  // Its bytes, at least 1.
  uint64_t len;
} xfer_memory_options;

// Which node a client connects to.
typedef struct xfer_client_options {
  // Bytes of this struct, as the application was compiled.
  uint32_t size;
  // How long no address of the link may answer; 0: 10 s.
  uint32_t timeout_ms;
  // The node's link: "xfer://...", as text that ends in NUL.
  const char *link;
  // 0.
  uint64_t reserved;
} xfer_client_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The number of the interface that this library has: XFER_ABI of its header, or more.
//
// Threads: any. Errors: none.
uint32_t xfer_abi(void);

// The version of the library, as text that lives as long as the process: "0.1.0".
//
// Threads: any. Errors: none.
const char *xfer_version(void);

// What a status means, in a few words that live as long as the process; also for numbers that are none.
//
// Threads: any. Errors: none.
const char *xfer_strerror(int status);

// Writes why the last call that failed on `handle` (an engine, connection, memory or client) did, into `text` of `size` bytes, with a NUL.
// Empty when none failed. Of calls on several threads it is that of the one that failed last.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
int xfer_detail(const void *handle, char *text, size_t size);

// Fills `secret` with XFER_SECRET_BYTES random bytes of the kernel.
//
// Threads: any. Errors: XFER_ERR_ARGUMENT, XFER_ERR_FATAL when the kernel has none.
int xfer_secret(uint8_t *secret);

// Opens an engine: sockets, worker threads, threads for storage. `*engine` is the caller's to close with xfer_engine_close(). A process may have
// many; they share nothing.
//
// Threads: any. Lifetime: `options` and what it points to are read during the call only. Errors, with the reason in `options->error`:
// XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED, XFER_ERR_FATAL for an address that cannot be bound. Do not fork a process with an engine: calls in the child fail with
// XFER_ERR_FORKED.
int xfer_engine_open(const struct xfer_engine_options *options,
                     struct xfer_engine **engine);

// Closes an engine: ends its threads, which takes up to some seconds. The handle and its eventfd are gone then.
//
// Threads: any; calls that other threads are in the middle of end first or fail with XFER_ERR_HANDLE. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY while connections,
// clients or registered memory are open, XFER_ERR_FORKED: nothing is done.
int xfer_engine_close(struct xfer_engine *engine);

// Writes address number `index` that the engine receives on, with its port, into `text` of `size` bytes (64 are enough), with a NUL.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT where there is no such address, or no room for it.
int xfer_engine_address(struct xfer_engine *engine, uint32_t index, char *text, size_t size);

// Fills in the counters of an engine.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
int xfer_engine_statistics(struct xfer_engine *engine, struct xfer_engine_counters *statistics);

// The engine's eventfd, at least 0: readable while xfer_poll() has something, for epoll, libuv, asyncio. It stays the engine's: do not read, write or close it;
// xfer_poll() takes the signal back.
//
// Threads: any. Errors: XFER_ERR_HANDLE.
int xfer_engine_eventfd(struct xfer_engine *engine);

// Takes up to `capacity` completions into `completions` and returns how many. Waits for the first until `timeout_ns` nanoseconds have passed; 0: does not
// wait; below 0: for ever. A signal handler that ran ends the wait with 0. What completions point to is valid until the next call.
//
// Threads: any, one at a time. Lifetime: completions are copies; handles in them may be closed by then. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT,
// XFER_ERR_BUSY while another thread polls, XFER_ERR_FORKED.
int xfer_poll(struct xfer_engine *engine,
              struct xfer_completion *completions,
              uint32_t capacity,
              int64_t timeout_ns);

// Hands operations over, in order, and returns how many were taken. Stops at the first that is not; if that is the first of all, its status is returned,
// else the next call with it tells. Each operation that was taken has one completion, XFER_OP_FINISH and XFER_OP_CANCEL excepted.
//
// Threads: any. Ownership: memory of operations that were taken is the engine's until their completion; names and paths are copied. Errors: XFER_ERR_HANDLE
// (also of the operation's connection), XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED, XFER_ERR_FULL, XFER_ERR_BUSY for memory in use, XFER_ERR_ENDED, XFER_ERR_FORKED.
int xfer_submit(struct xfer_engine *engine,
                const struct xfer_operation *operations,
                uint32_t count);

// Admits one connection with the secret in `options`, on the addresses that the engine receives on. `*connection` is the caller's to close. Its first completion is
// XFER_EVENT_CONNECTED, or XFER_EVENT_FINISHED with XFER_ERR_TEMPORARY when nobody came in time.
//
// Threads: any. Lifetime: `options` and what it points to are read during the call only. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED, XFER_ERR_FORKED.
int xfer_admit(struct xfer_engine *engine,
               const struct xfer_connection_options *options,
               struct xfer_connection **connection);

// Connects with the secret in `options`. As xfer_admit(); its XFER_EVENT_FINISHED has XFER_ERR_TEMPORARY when no path answers in time, which is also what a wrong
// secret leads to: the other end does not answer.
int xfer_connect(struct xfer_engine *engine,
                 const struct xfer_connection_options *options,
                 struct xfer_connection **connection);

// Closes a connection whose XFER_EVENT_FINISHED was taken. To end one early submit XFER_OP_CANCEL and poll until then.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY before its last completion: nothing is done.
int xfer_connection_close(struct xfer_connection *connection);

// Fills in the counters of a connection, as of at most 50 ms ago.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
int xfer_connection_statistics(struct xfer_connection *connection, struct xfer_connection_counters *statistics);

// Writes what is known of each path, up to `capacity` elements of `size` bytes (`sizeof(xfer_path_report)`), as of at most 50 ms ago, and returns how many paths there are.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT.
int xfer_connection_paths(struct xfer_connection *connection,
                          struct xfer_path_report *paths,
                          size_t size,
                          uint32_t capacity);

// Registers memory, so that operations may name parts of it by handle and offset. It stays the application's, which keeps it in place, writable and mapped until it is
// unregistered. Content of objects of more than a quarter of a chunk is opened in it directly, as in any memory of XFER_OP_ACCEPT.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT, XFER_ERR_UNSUPPORTED.
int xfer_memory_register(struct xfer_engine *engine,
                         const struct xfer_memory_options *options,
                         struct xfer_memory **memory);

// Lets go of registered memory.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY while an operation uses part of it: nothing is done.
int xfer_memory_unregister(struct xfer_memory *memory);

// Opens a client of a node. It connects with its first operation, and anew when the connection was lost. `*client` is the caller's to close. Operations of a client are done one after the other, but
// XFER_OP_CLIENT_READ, of which many are done at once; their completions come through xfer_poll() of the engine.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_ARGUMENT for a link that is none, XFER_ERR_UNSUPPORTED where the library was built without the client.
int xfer_client_open(struct xfer_engine *engine,
                     const struct xfer_client_options *options,
                     struct xfer_client **client);

// Closes a client.
//
// Threads: any. Errors: XFER_ERR_HANDLE, XFER_ERR_BUSY while an operation has no XFER_EVENT_DONE yet: nothing is done.
int xfer_client_close(struct xfer_client *client);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* XFER_H */
