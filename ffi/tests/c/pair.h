/* Two engines over loopback, for the tests of this folder: [0] admits and receives, [1] connects and sends. */

#ifndef PAIR_H
#define PAIR_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xfer.h>

#define EXPECT(is, should)                                                                                      \
    do {                                                                                                        \
        long long is_ = (long long)(is), should_ = (long long)(should);                                         \
        if (is_ != should_) {                                                                                   \
            fprintf(stderr, "%s:%d: %s is %lld, not %s\n", __FILE__, __LINE__, #is, is_, #should);              \
            exit(1);                                                                                            \
        }                                                                                                       \
    } while (0)

/* Bytes without a pattern. */
static inline void noise(uint8_t *to, size_t len)
{
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        to[i] = (uint8_t)(state >> 32);
    }
}

struct pair {
    xfer_engine *engines[2];
    xfer_connection *connections[2];
};

static inline xfer_engine *open_engine(const char *address)
{
    char why[256] = "";
    xfer_engine_options options = {.size = sizeof options};
    options.workers = 1;
    options.listen = &address;
    options.listen_count = address ? 1 : 0;
    options.error = why;
    options.error_size = sizeof why;
    xfer_engine *engine = NULL;
    int status = xfer_engine_open(&options, &engine);
    if (status != XFER_OK)
        fprintf(stderr, "%s\n", why);
    EXPECT(status, XFER_OK);
    return engine;
}

/* Bits a second of connections that are opened from here on; 0: as many as there may be. */
static uint64_t pair_rate_max;

static inline void connect_pair(struct pair *pair, uint32_t flags, uint32_t depth)
{
    uint8_t secret[XFER_SECRET_BYTES];
    EXPECT(xfer_secret(secret), XFER_OK);
    char address[64];
    EXPECT(xfer_engine_address(pair->engines[0], 0, address, sizeof address), XFER_OK);
    xfer_path_pair path = {.local = "127.0.0.1", .remote = address};
    xfer_connection_options options = {.size = sizeof options};
    options.direction = XFER_DIRECTION_OPENER_SENDS;
    options.secret = secret;
    options.flags = flags;
    options.depth = depth;
    options.chunk_log2 = 16;
    options.rate_max = pair_rate_max;
    options.user = 1000;
    EXPECT(xfer_admit(pair->engines[0], &options, &pair->connections[0]), XFER_OK);
    options.paths = &path;
    options.path_count = 1;
    options.user = 1001;
    EXPECT(xfer_connect(pair->engines[1], &options, &pair->connections[1]), XFER_OK);
}

static inline struct pair open_pair(uint32_t flags, uint32_t depth)
{
    struct pair pair;
    pair.engines[0] = open_engine("127.0.0.1:0");
    pair.engines[1] = open_engine(NULL);
    connect_pair(&pair, flags, depth);
    return pair;
}

static inline xfer_operation operation(struct pair *pair, int end, uint32_t kind)
{
    xfer_operation operation = {.size = sizeof operation, .kind = kind};
    operation.connection = pair->connections[end];
    return operation;
}

/* An operation on memory. */
static inline xfer_operation on_memory(struct pair *pair, int end, uint32_t kind, void *data, uint64_t len)
{
    xfer_operation made = operation(pair, end, kind);
    made.data = data;
    made.len = len;
    return made;
}

static inline int submit(struct pair *pair, int end, xfer_operation operation)
{
    return xfer_submit(pair->engines[end], &operation, 1);
}

/* The next completion of a kind; others are passed over. */
static inline xfer_completion next_at(const char *file, int line, struct pair *pair, int end, uint32_t kind)
{
    xfer_completion completion;
    for (;;) {
        int count = xfer_poll(pair->engines[end], &completion, 1, 60000000000);
        if (count == 1 && completion.kind == kind)
            return completion;
        if (count != 1 || completion.kind == XFER_EVENT_FINISHED) {
            fprintf(stderr, "%s:%d: end %d, instead of kind %u: %d, status %d %s\n", file, line, end, kind, count,
                    completion.status, count == 1 && completion.text ? completion.text : "");
            exit(1);
        }
    }
}

#define next(pair, end, kind) next_at(__FILE__, __LINE__, pair, end, kind)

/* The operation that receives the next object into memory. */
static inline xfer_operation accept_next(struct pair *pair, void *to, uint64_t len)
{
    xfer_operation accept = on_memory(pair, 0, XFER_OP_ACCEPT, to, len);
    accept.object = next(pair, 0, XFER_EVENT_OFFERED).object;
    return accept;
}

static inline void close_connections(struct pair *pair)
{
    for (int end = 0; end < 2; end++)
        EXPECT(xfer_connection_close(pair->connections[end]), XFER_OK);
}

static inline void close_engines(struct pair *pair)
{
    for (int end = 0; end < 2; end++)
        EXPECT(xfer_engine_close(pair->engines[end]), XFER_OK);
}

/* Ends both connections well, and closes all. */
static inline void finish_pair(struct pair *pair)
{
    EXPECT(submit(pair, 1, operation(pair, 1, XFER_OP_FINISH)), 1);
    for (int end = 0; end < 2; end++)
        EXPECT(next(pair, end, XFER_EVENT_FINISHED).status, XFER_OK);
    close_connections(pair);
    close_engines(pair);
}

#endif
