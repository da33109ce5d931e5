/*
 * Measures the library: bench receive LISTEN [FLAGS], which prints its address; bench send ADDRESS MODE [FLAGS], with these modes:
 *
 *     large   objects of 128 MiB, two at a time, from memory to memory for 5 s: Gbit/s
 *     small   objects of 64 bytes in batches for 5 s: objects a second
 *     ping    one object of 64 bytes there, one back, 20,000 times: half of the round trip
 *
 * FLAGS is a sum: 1 workers spin, 2 no digests, 4 no cipher, 8 the application spins.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xfer.h>

enum { LARGE = 128 << 20, SMALL = 64, BATCH = 256, PINGS = 20000, SECONDS = 5 };

static xfer_engine *engine;
static xfer_connection *there, *back;
static uint8_t *memory;
static unsigned flags;

static int check(int status, const char *what)
{
    if (status >= 0)
        return status;
    char detail[256] = "";
    xfer_detail(engine, detail, sizeof detail);
    fprintf(stderr, "%s: %s: %s\n", what, xfer_strerror(status), detail);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int poll_some(xfer_completion *completions, uint32_t capacity)
{
    int count;
    do {
        count = check(xfer_poll(engine, completions, capacity, flags & 8 ? 0 : -1), "poll");
    } while (count == 0);
    return count;
}

static void submit(xfer_connection *connection, uint32_t kind, uint64_t object, const void *data, uint64_t len)
{
    xfer_operation operation = {.size = sizeof operation, .kind = kind, .user = now_ns()};
    operation.connection = connection;
    operation.object = object;
    operation.data = (void *)data;
    operation.len = len;
    check(xfer_submit(engine, &operation, 1), "submit");
}

/* Opens both connections: one to the end that admits, one back. */
static void open_all(const char *listen, const char *remote)
{
    xfer_engine_options options = {.size = sizeof options};
    options.listen = &listen;
    options.listen_count = listen ? 1 : 0;
    options.flags = flags & 1 ? XFER_ENGINE_BUSY : 0;
    options.workers = 1;
    check(xfer_engine_open(&options, &engine), "open");
    xfer_path_pair path = {.remote = remote};
    for (int i = 0; i < 2; i++) {
        uint8_t secret[XFER_SECRET_BYTES] = {(uint8_t)i};
        xfer_connection_options connection = {.size = sizeof connection};
        connection.direction = i ? XFER_DIRECTION_OPENER_RECEIVES : XFER_DIRECTION_OPENER_SENDS;
        connection.suite = flags & 4 ? XFER_SUITE_PLAIN : XFER_SUITE_AES_128_GCM;
        connection.flags = flags & 2 ? XFER_CONNECTION_NO_DIGESTS : 0;
        connection.secret = secret;
        connection.depth = 16384;
        connection.paths = &path;
        connection.path_count = remote ? 1 : 0;
        check((remote ? xfer_connect : xfer_admit)(engine, &connection, i ? &back : &there), "connect");
    }
}

static int receive(void)
{
    char address[64];
    check(xfer_engine_address(engine, 0, address, sizeof address), "address");
    printf("%s\n", address);
    fflush(stdout);
    for (;;) {
        xfer_completion completions[BATCH];
        int count = poll_some(completions, BATCH);
        for (int i = 0; i < count; i++) {
            const xfer_completion *completion = &completions[i];
            if (completion->kind == XFER_EVENT_FINISHED && completion->connection == there)
                return 0;
            if (completion->kind != XFER_EVENT_OFFERED)
                continue;
            if (!(completion->flags & XFER_COMPLETION_WHOLE))
                submit(there, XFER_OP_ACCEPT, completion->object, memory + completion->object % 2 * LARGE, LARGE);
            else if (completion->bytes == SMALL + 1)
                submit(back, XFER_OP_SEND, 0, completion->data, SMALL);
        }
    }
}

static void send_large(void)
{
    uint64_t start = 0, end = 0, bytes = 0;
    for (int i = 0; i < 2; i++)
        submit(there, XFER_OP_SEND, 0, memory, LARGE);
    for (int live = 2; live > 0;) {
        xfer_completion completion;
        poll_some(&completion, 1);
        if (completion.kind != XFER_EVENT_SENT)
            continue;
        check(completion.status, "sent");
        end = now_ns();
        /* The first one is for the start-up. */
        bytes += start ? completion.bytes : 0;
        start = start ? start : end;
        if (end - start < SECONDS * 1000000000ull)
            submit(there, XFER_OP_SEND, 0, memory, LARGE);
        else
            live--;
    }
    printf("%.2f Gbit/s\n", (double)bytes * 8 / (double)(end - start));
}

static void send_small(void)
{
    uint64_t start = now_ns(), sent = 0, submitted = 0, now = start;
    xfer_operation batch[BATCH];
    for (int i = 0; i < BATCH; i++) {
        batch[i] = (xfer_operation){.size = sizeof batch[i], .kind = XFER_OP_SEND};
        batch[i].connection = there;
        batch[i].data = memory;
        batch[i].len = SMALL;
        batch[i].name = "o";
        batch[i].name_len = 1;
    }
    while (now - start < SECONDS * 1000000000ull || sent < submitted) {
        xfer_completion completions[BATCH];
        int taken = 0;
        if (now - start < SECONDS * 1000000000ull) {
            taken = xfer_submit(engine, batch, BATCH);
            if (taken != XFER_ERR_FULL)
                submitted += (uint64_t)check(taken, "submit");
        }
        int64_t wait = taken == BATCH || flags & 8 ? 0 : -1;
        int count = check(xfer_poll(engine, completions, BATCH, wait), "poll");
        for (int i = 0; i < count; i++)
            sent += completions[i].kind == XFER_EVENT_SENT && check(completions[i].status, "sent") == 0;
        now = now_ns();
    }
    printf("%.0f objects/s\n", (double)sent * 1e9 / (double)(now - start));
}

static int earlier(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void ping(void)
{
    static uint64_t took[PINGS];
    for (int i = 0; i < PINGS; i++) {
        uint64_t start = now_ns();
        submit(there, XFER_OP_SEND, 0, memory, SMALL + 1);
        for (int answered = 0; !answered;) {
            xfer_completion completions[8];
            int count = poll_some(completions, 8);
            for (int k = 0; k < count; k++)
                answered |= completions[k].kind == XFER_EVENT_OFFERED;
        }
        took[i] = now_ns() - start;
    }
    qsort(took, PINGS, sizeof *took, earlier);
    printf("half of the round trip: p50 %.1f us, p99 %.1f us\n", (double)took[PINGS / 2] / 2e3,
           (double)took[PINGS * 99 / 100] / 2e3);
}

int main(int argc, char **argv)
{
    int receives = argc > 2 && strcmp(argv[1], "receive") == 0;
    if (argc < 3 || (!receives && argc < 4)) {
        fprintf(stderr, "usage: bench receive LISTEN [FLAGS] | send ADDRESS large|small|ping [FLAGS]\n");
        return 2;
    }
    int at = receives ? 3 : 4;
    flags = argc > at ? (unsigned)atoi(argv[at]) : 0;
    memory = malloc(2 * LARGE);
    memset(memory, 7, 2 * LARGE);
    open_all(receives ? argv[2] : NULL, receives ? NULL : argv[2]);
    if (receives)
        return receive();
    if (strcmp(argv[3], "large") == 0)
        send_large();
    else if (strcmp(argv[3], "small") == 0)
        send_small();
    else
        ping();
    submit(there, XFER_OP_FINISH, 0, NULL, 0);
    xfer_completion completion;
    do {
        poll_some(&completion, 1);
    } while (completion.kind != XFER_EVENT_FINISHED || completion.connection != there);
    return 0;
}
