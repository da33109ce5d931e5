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
