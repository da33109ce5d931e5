/* Objects of each kind and size, registered memory by pointer identity, many small ones in batches. */

#include "pair.h"
#include <fcntl.h>

enum { CHUNK = 1 << 16 };

/* Sends `len` bytes and receives them into memory, registered or not. How much of it was copied. */
static uint64_t one(struct pair *pair, const uint8_t *from, uint8_t *to, uint64_t len, xfer_memory *memory)
{
    xfer_engine_counters before = {.size = sizeof before}, after = {.size = sizeof after};
    EXPECT(xfer_engine_statistics(pair->engines[0], &before), XFER_OK);
    xfer_operation send = operation(pair, 1, XFER_OP_SEND);
    send.user = 7;
    send.name = "a/b";
    send.name_len = 3;
    send.data = (void *)from;
    send.len = len;
    EXPECT(submit(pair, 1, send), 1);
    xfer_completion offered = next(pair, 0, XFER_EVENT_OFFERED);
    EXPECT(offered.bytes, len);
    EXPECT(offered.user, 1000);
    EXPECT(offered.name_len, 3);
    EXPECT(memcmp(offered.name, "a/b", 3), 0);
    if (len <= XFER_SMALL_MAX) {
        EXPECT(offered.flags & XFER_COMPLETION_WHOLE, XFER_COMPLETION_WHOLE);
        memcpy(to, offered.data, len);
    } else {
        xfer_operation accept = operation(pair, 0, XFER_OP_ACCEPT);
        accept.user = 8;
        accept.object = offered.object;
        accept.len = len;
        if (memory)
            accept.memory = memory;
        else
            accept.data = to;
        EXPECT(submit(pair, 0, accept), 1);
        if (memory)
            EXPECT(xfer_memory_unregister(memory), XFER_ERR_BUSY);
        xfer_completion received = next(pair, 0, XFER_EVENT_RECEIVED);
        EXPECT(received.status, XFER_OK);
        EXPECT(received.user, 8);
        EXPECT(received.object, offered.object);
        EXPECT(received.bytes, len);
    }
    EXPECT(memcmp(from, to, len), 0);
    xfer_completion sent = next(pair, 1, XFER_EVENT_SENT);
    EXPECT(sent.status, XFER_OK);
    EXPECT(sent.user, 7);
    EXPECT(sent.bytes, len);
    EXPECT(xfer_engine_statistics(pair->engines[0], &after), XFER_OK);
    EXPECT(after.bytes_in_place - before.bytes_in_place + after.bytes_copied - before.bytes_copied,
           len <= XFER_SMALL_MAX ? 0 : len);
    return after.bytes_copied - before.bytes_copied;
}

static void sizes(uint32_t flags)
{
    static const uint64_t lens[] = {0, 1, 1023, 1024, 1025, CHUNK / 4, CHUNK / 4 + 1, CHUNK - 1, CHUNK, 40 * CHUNK + 17};
    struct pair pair = open_pair(flags, 0);
    uint8_t *from = malloc(41 * CHUNK), *to = malloc(41 * CHUNK);
    noise(from, 41 * CHUNK);
    xfer_memory_options options = {.size = sizeof options, .data = to, .len = 41 * CHUNK};
    xfer_memory *memory = NULL;
    EXPECT(xfer_memory_register(pair.engines[0], &options, &memory), XFER_OK);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        uint64_t small = lens[i] <= CHUNK / 4 && lens[i] > XFER_SMALL_MAX ? lens[i] : 0;
        memset(to, 0, 41 * CHUNK);
        EXPECT(one(&pair, from, to, lens[i], NULL), small);
        memset(to, 0, 41 * CHUNK);
        /* What arrives in registered memory above a quarter of a chunk was opened there: nothing was copied. */
        EXPECT(one(&pair, from, to, lens[i], memory), small);
    }
    EXPECT(xfer_memory_unregister(memory), XFER_OK);
    finish_pair(&pair);
    free(from);
    free(to);
}

/* Many small objects, submitted and completed in batches through a queue that is shorter than they are many. */
static void many(void)
{
    enum { COUNT = 20000, BATCH = 64 };
    struct pair pair = open_pair(0, 256);
    uint32_t submitted = 0, sent = 0, received = 0, full = 0;
    while (sent < COUNT || received < COUNT) {
        xfer_operation batch[BATCH];
        uint64_t values[BATCH];
        uint32_t count = 0;
        for (; count < BATCH && submitted + count < COUNT; count++) {
            values[count] = submitted + count;
            batch[count] = operation(&pair, 1, XFER_OP_SEND);
            batch[count].user = values[count];
            batch[count].data = &values[count];
            batch[count].len = sizeof values[count];
        }
        int taken = count ? xfer_submit(pair.engines[1], batch, count) : 0;
        full += taken == XFER_ERR_FULL;
        submitted += taken > 0 ? (uint32_t)taken : 0;
        xfer_completion completions[BATCH];
        int told = xfer_poll(pair.engines[1], completions, BATCH, 0);
        for (int i = 0; i < told; i++) {
            if (completions[i].kind == XFER_EVENT_SENT)
                EXPECT(completions[i].user, sent++);
        }
        told = xfer_poll(pair.engines[0], completions, BATCH, 1000000);
        for (int i = 0; i < told; i++) {
            if (completions[i].kind != XFER_EVENT_OFFERED)
                continue;
            uint64_t value;
            memcpy(&value, completions[i].data, sizeof value);
            EXPECT(value, received++);
            EXPECT(completions[i].object, value);
        }
    }
    EXPECT(full > 0, 1);
    xfer_connection_counters counters = {.size = sizeof counters};
    EXPECT(xfer_connection_statistics(pair.connections[1], &counters), XFER_OK);
    EXPECT(counters.outstanding, 0);
    EXPECT(counters.paths, 1);
    xfer_path_report path;
    EXPECT(xfer_connection_paths(pair.connections[1], &path, sizeof path, 1), 1);
    EXPECT(path.up, 1);
    EXPECT(strncmp(path.remote, "127.0.0.1:", 10), 0);
    finish_pair(&pair);
}

/* A range of a file into another file, and a refusal. */
static void files(void)
{
    struct pair pair = open_pair(0, 0);
    enum { LEN = 3 * CHUNK + 5 };
    static uint8_t from[LEN], to[LEN];
    noise(from, LEN);
    FILE *source = tmpfile(), *target = tmpfile();
    EXPECT(fwrite(from, 1, LEN, source), LEN);
    fflush(source);
    for (int refuse = 0; refuse < 2; refuse++) {
        xfer_operation send = operation(&pair, 1, XFER_OP_SEND_FILE);
        send.fd = fileno(source);
        send.offset = 5;
        send.len = LEN - 5;
        EXPECT(submit(&pair, 1, send), 1);
        xfer_completion offered = next(&pair, 0, XFER_EVENT_OFFERED);
        xfer_operation answer = operation(&pair, 0, refuse ? XFER_OP_REFUSE : XFER_OP_ACCEPT_FILE);
        answer.object = offered.object;
        answer.fd = refuse ? 0 : fileno(target);
        answer.offset = refuse ? 0 : 9;
        answer.name = refuse ? "too dull" : NULL;
        answer.name_len = refuse ? 8 : 0;
        EXPECT(submit(&pair, 0, answer), 1);
        xfer_completion received = next(&pair, 0, XFER_EVENT_RECEIVED);
        EXPECT(received.status, refuse ? XFER_ERR_REFUSED : XFER_OK);
        xfer_completion sent = next(&pair, 1, XFER_EVENT_SENT);
        EXPECT(sent.status, refuse ? XFER_ERR_REFUSED : XFER_OK);
        if (refuse) {
            EXPECT(strstr(sent.text, "too dull") != NULL, 1);
        } else {
            EXPECT(sent.flags & XFER_COMPLETION_DIGEST, XFER_COMPLETION_DIGEST);
            EXPECT(memcmp(sent.digest, received.digest, 32), 0);
        }
    }
    EXPECT(pread(fileno(target), to, LEN - 5, 9), LEN - 5);
    EXPECT(memcmp(from + 5, to, LEN - 5), 0);
    fclose(source);
    fclose(target);
    finish_pair(&pair);
}

int main(void)
{
    sizes(0);
    sizes(XFER_CONNECTION_NO_DIGESTS);
    many();
    files();
    puts("ok");
    return 0;
}
