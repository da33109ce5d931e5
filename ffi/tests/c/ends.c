/* Ends that come early: a wrong secret, nobody there, cancellation, a peer that vanishes, memory that changes, engines again and again. */

#include "pair.h"
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { LEN = 1 << 20 };

/* Connects with this secret to one engine that admits another. */
static void wrong_secret(void)
{
    xfer_engine *engine = open_engine("127.0.0.1:0");
    uint8_t secret[XFER_SECRET_BYTES] = {1};
    char address[64];
    EXPECT(xfer_engine_address(engine, 0, address, sizeof address), XFER_OK);
    xfer_path_pair path = {.remote = address};
    xfer_connection_options options = {.size = sizeof options};
    options.direction = XFER_DIRECTION_OPENER_SENDS;
    options.secret = secret;
    options.timeout_ms = 300;
    options.user = 1;
    xfer_connection *admitted, *connected;
    EXPECT(xfer_admit(engine, &options, &admitted), XFER_OK);
    secret[0] = 2;
    options.paths = &path;
    options.path_count = 1;
    options.user = 2;
    EXPECT(xfer_connect(engine, &options, &connected), XFER_OK);
    xfer_operation send = {.size = sizeof send, .kind = XFER_OP_SEND, .user = 3, .connection = connected};
    static uint8_t bytes[LEN];
    send.data = bytes;
    send.len = LEN;
    EXPECT(xfer_submit(engine, &send, 1), 1);
    int seen[4] = {0};
    for (int left = 3; left > 0; left--) {
        xfer_completion completion;
        EXPECT(xfer_poll(engine, &completion, 1, 30000000000), 1);
        EXPECT(completion.status, XFER_ERR_TEMPORARY);
        EXPECT(completion.text != NULL, 1);
        EXPECT(completion.kind, completion.user == 3 ? XFER_EVENT_SENT : XFER_EVENT_FINISHED);
        seen[completion.user]++;
    }
    EXPECT(seen[1] + seen[2] + seen[3], 3);
    EXPECT(xfer_connection_close(admitted), XFER_OK);
    EXPECT(xfer_connection_close(connected), XFER_OK);
    EXPECT(xfer_engine_close(engine), XFER_OK);
}

/* Either end cancels while content moves. Everything is completed, and memory is the application's again. */
static void cancel(int canceller)
{
    struct pair pair = open_pair(0, 0);
    uint8_t *from = malloc(64 * LEN), *to = malloc(64 * LEN);
    noise(from, 64 * LEN);
    for (int i = 0; i < 2; i++)
        EXPECT(submit(&pair, 1, on_memory(&pair, 1, XFER_OP_SEND, from, 64 * LEN)), 1);
    EXPECT(submit(&pair, 0, accept_next(&pair, to, 64 * LEN)), 1);
    xfer_operation stop = operation(&pair, canceller, XFER_OP_CANCEL);
    stop.name = "enough";
    stop.name_len = 6;
    EXPECT(submit(&pair, canceller, stop), 1);
    for (int end = 0; end < 2; end++) {
        int objects = 0;
        for (;;) {
            xfer_completion completion;
            EXPECT(xfer_poll(pair.engines[end], &completion, 1, 30000000000), 1);
            if (completion.kind == XFER_EVENT_SENT || completion.kind == XFER_EVENT_RECEIVED) {
                objects++;
                if (completion.status != XFER_OK)
                    EXPECT(completion.status, XFER_ERR_INTERRUPTED);
            }
            if (completion.kind != XFER_EVENT_FINISHED)
                continue;
            EXPECT(completion.status, XFER_ERR_INTERRUPTED);
            EXPECT(strstr(completion.text, "enough") != NULL, 1);
            break;
        }
        EXPECT(objects, end == 0 ? 1 : 2);
        /* Freed at once: nothing of the engine looks at it any more. */
        free(end == 0 ? to : from);
    }
    close_connections(&pair);
    close_engines(&pair);
}

/* Memory that changes while it is sent fails its digest, and is not delivered. The connection is slow, so that each chunk waits between its digest
   and its way. */
static void changing(void)
{
    pair_rate_max = 50000000;
    struct pair pair = open_pair(0, 0);
    pair_rate_max = 0;
    static uint8_t from[2 * LEN], to[2 * LEN];
    EXPECT(submit(&pair, 1, on_memory(&pair, 1, XFER_OP_SEND, from, 2 * LEN)), 1);
    EXPECT(submit(&pair, 0, accept_next(&pair, to, 2 * LEN)), 1);
    int status = 1;
    while (status == 1) {
        xfer_completion completion;
        for (size_t at = 0; at < 2 * LEN; at += 64)
            ((volatile uint8_t *)from)[at]++;
        if (xfer_poll(pair.engines[1], &completion, 1, 0) == 1 && completion.kind == XFER_EVENT_SENT)
            status = completion.status;
    }
    EXPECT(status, XFER_ERR_DIGEST);
    EXPECT(next(&pair, 0, XFER_EVENT_RECEIVED).status, XFER_ERR_DIGEST);
    finish_pair(&pair);
}

/* The other process is killed: the connection ends by silence, and what was outstanding fails. */
static void vanished(void)
{
    int address[2];
    EXPECT(pipe(address), 0);
    uint8_t secret[XFER_SECRET_BYTES] = {9};
    xfer_connection_options options = {.size = sizeof options};
    options.direction = XFER_DIRECTION_OPENER_SENDS;
    options.secret = secret;
    pid_t child = fork();
    EXPECT(child >= 0, 1);
    if (child == 0) {
        xfer_engine *engine = open_engine("127.0.0.1:0");
        xfer_connection *connection;
        EXPECT(xfer_admit(engine, &options, &connection), XFER_OK);
        char text[64] = "";
        EXPECT(xfer_engine_address(engine, 0, text, sizeof text), XFER_OK);
        EXPECT(write(address[1], text, sizeof text), sizeof text);
        for (;;)
            pause();
    }
    char text[64];
    EXPECT(read(address[0], text, sizeof text), sizeof text);
    xfer_path_pair path = {.remote = text};
    options.paths = &path;
    options.path_count = 1;
    struct pair pair = {.engines = {NULL, open_engine(NULL)}};
    EXPECT(xfer_connect(pair.engines[1], &options, &pair.connections[1]), XFER_OK);
    next(&pair, 1, XFER_EVENT_CONNECTED);
    static uint8_t bytes[LEN];
    EXPECT(submit(&pair, 1, on_memory(&pair, 1, XFER_OP_SEND, bytes, LEN)), 1);
    EXPECT(kill(child, SIGKILL), 0);
    EXPECT(waitpid(child, NULL, 0), child);
    EXPECT(next(&pair, 1, XFER_EVENT_SENT).status, XFER_ERR_TEMPORARY);
    EXPECT(next(&pair, 1, XFER_EVENT_FINISHED).status, XFER_ERR_TEMPORARY);
    EXPECT(xfer_connection_close(pair.connections[1]), XFER_OK);
    EXPECT(xfer_engine_close(pair.engines[1]), XFER_OK);
    close(address[0]);
    close(address[1]);
}

/* A forked child is told that the engine is not its own. */
static void forked(void)
{
    xfer_engine *engine = open_engine(NULL);
    pid_t child = fork();
    EXPECT(child >= 0, 1);
    if (child == 0) {
        xfer_completion completion;
        _exit(xfer_poll(engine, &completion, 1, 0) == XFER_ERR_FORKED ? 0 : 1);
    }
    int status;
    EXPECT(waitpid(child, &status, 0), child);
    EXPECT(status, 0);
    EXPECT(xfer_engine_close(engine), XFER_OK);
}

/* Bytes of memory that the process has. */
static long resident(void)
{
    long pages = 0, have = 0;
    FILE *in = fopen("/proc/self/statm", "r");
    EXPECT(fscanf(in, "%ld %ld", &pages, &have), 2);
    fclose(in);
    return have * sysconf(_SC_PAGESIZE);
}

/* Opens and closes engines, then connections. */
static void again_and_again(int count)
{
    for (int i = 0; i < count; i++)
        EXPECT(xfer_engine_close(open_engine(i % 2 ? "127.0.0.1:0" : NULL)), XFER_OK);
    struct pair pair = open_pair(0, 0);
    for (int i = 0; i < count; i++) {
        EXPECT(submit(&pair, 1, operation(&pair, 1, XFER_OP_SEND)), 1);
        EXPECT(submit(&pair, 1, operation(&pair, 1, XFER_OP_FINISH)), 1);
        for (int end = 0; end < 2; end++)
            EXPECT(next(&pair, end, XFER_EVENT_FINISHED).status, XFER_OK);
        close_connections(&pair);
        connect_pair(&pair, 0, 0);
    }
    finish_pair(&pair);
}

/* Argument: how many engines and connections are opened and closed; 30 without. */
int main(int argc, char **argv)
{
    int slow = getenv("SLOW") && *getenv("SLOW") == '1';
    /* valgrind counts what the parent's threads hold as lost in the child. */
    if (!slow)
        forked();
    wrong_secret();
    cancel(0);
    cancel(1);
    if (!slow) {
        changing();
        vanished();
    }
    int count = argc > 1 ? atoi(argv[1]) : slow ? 3 : 30;
    again_and_again(count);
    /* What leaks does so each time; what the allocator keeps for threads that come and go does not. */
    long grown = LEN;
    for (int i = 0; i < 5 && grown >= LEN; i++) {
        long before = resident();
        again_and_again(count);
        grown = resident() - before;
        fprintf(stderr, "%ld KiB more after %d engines and connections\n", grown / 1024, count);
        if (slow)
            break;
    }
#ifndef __SANITIZE_ADDRESS__
    EXPECT(slow || grown < LEN, 1);
#endif
    puts("ok");
    return 0;
}
