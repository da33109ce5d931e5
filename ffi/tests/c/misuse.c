/* Arguments and calls that are wrong, each answered by a status. */

#include "pair.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

static void nulls(void)
{
    xfer_engine *engine = open_engine(NULL), *other = NULL;
    xfer_connection *connection = NULL;
    xfer_memory *memory = NULL;
    xfer_client *client = NULL;
    xfer_completion completion;
    EXPECT(xfer_engine_open(NULL, &other), XFER_ERR_ARGUMENT);
    xfer_engine_options options = {.size = sizeof options};
    EXPECT(xfer_engine_open(&options, NULL), XFER_ERR_ARGUMENT);
    EXPECT(xfer_admit(engine, NULL, &connection), XFER_ERR_ARGUMENT);
    EXPECT(xfer_connect(engine, NULL, &connection), XFER_ERR_ARGUMENT);
    EXPECT(xfer_memory_register(engine, NULL, &memory), XFER_ERR_ARGUMENT);
    EXPECT(xfer_client_open(engine, NULL, &client), XFER_ERR_ARGUMENT);
    EXPECT(xfer_poll(engine, NULL, 1, 0), XFER_ERR_ARGUMENT);
    EXPECT(xfer_poll(engine, NULL, 0, 0), 0);
    EXPECT(xfer_poll(engine, &completion, 1, 0), 0);
    EXPECT(xfer_submit(engine, NULL, 1), XFER_ERR_ARGUMENT);
    EXPECT(xfer_submit(engine, NULL, 0), 0);
    EXPECT(xfer_secret(NULL), XFER_ERR_ARGUMENT);
    EXPECT(xfer_engine_statistics(engine, NULL), XFER_ERR_ARGUMENT);
    EXPECT(xfer_detail(engine, NULL, 0), XFER_ERR_ARGUMENT);
    char address[64];
    EXPECT(xfer_engine_address(engine, 0, address, sizeof address), XFER_ERR_ARGUMENT);
    /* Structs that do not lie on their boundary. */
    char room[2 * sizeof completion];
    void *odd = room + 1 + ((uintptr_t)room & 1);
    EXPECT(xfer_engine_open(odd, &other), XFER_ERR_ARGUMENT);
    EXPECT(xfer_engine_open(&options, odd), XFER_ERR_ARGUMENT);
    EXPECT(xfer_submit(engine, odd, 1), XFER_ERR_ARGUMENT);
    EXPECT(xfer_poll(engine, odd, 1, 0), XFER_ERR_ARGUMENT);
    EXPECT(xfer_engine_close(engine), XFER_OK);
}

static void handles(void)
{
    xfer_completion completion;
    uint64_t word = 0;
    EXPECT(xfer_engine_close(NULL), XFER_ERR_HANDLE);
    EXPECT(xfer_engine_close((xfer_engine *)(void *)&word), XFER_ERR_HANDLE);
    EXPECT(xfer_poll((xfer_engine *)1, &completion, 1, 0), XFER_ERR_HANDLE);
    xfer_engine *engine = open_engine(NULL);
    EXPECT(xfer_connection_close((xfer_connection *)(void *)engine), XFER_ERR_HANDLE);
    EXPECT(xfer_memory_unregister((xfer_memory *)(void *)engine), XFER_ERR_HANDLE);
    EXPECT(xfer_client_close((xfer_client *)(void *)engine), XFER_ERR_HANDLE);
    EXPECT(xfer_engine_close(engine), XFER_OK);
    EXPECT(xfer_engine_close(engine), XFER_ERR_HANDLE);
    EXPECT(xfer_poll(engine, &completion, 1, 0), XFER_ERR_HANDLE);
    EXPECT(xfer_engine_eventfd(engine), XFER_ERR_HANDLE);
    char detail[8];
    EXPECT(xfer_detail(engine, detail, sizeof detail), XFER_ERR_HANDLE);
    xfer_engine *next = open_engine(NULL);
    EXPECT(next != engine, 1);
    EXPECT(xfer_poll(engine, &completion, 1, 0), XFER_ERR_HANDLE);
    EXPECT(xfer_engine_close(next), XFER_OK);
}

static void structs(void)
{
    struct {
        xfer_engine_options known;
        uint64_t more;
    } newer = {.known = {.size = sizeof newer, .workers = 1}};
    xfer_engine *engine = NULL;
    EXPECT(xfer_engine_open(&newer.known, &engine), XFER_OK);
    EXPECT(xfer_engine_close(engine), XFER_OK);
    engine = NULL;
    newer.more = 1;
    EXPECT(xfer_engine_open(&newer.known, &engine), XFER_ERR_UNSUPPORTED);
    newer.known.size = 0;
    EXPECT(xfer_engine_open(&newer.known, &engine), XFER_ERR_ARGUMENT);
    newer.known.size = sizeof newer.known - 8;
    EXPECT(xfer_engine_open(&newer.known, &engine), XFER_ERR_ARGUMENT);
    xfer_engine_options options = {.size = sizeof options, .flags = 1u << 31};
    EXPECT(xfer_engine_open(&options, &engine), XFER_ERR_UNSUPPORTED);
    char why[64] = "";
    const char *listen = "nowhere";
    options = (xfer_engine_options){.size = sizeof options, .listen = &listen, .listen_count = 1, .error = why,
                                    .error_size = sizeof why};
    EXPECT(xfer_engine_open(&options, &engine), XFER_ERR_ARGUMENT);
    EXPECT(strstr(why, "nowhere") != NULL, 1);
    EXPECT(engine == NULL, 1);
}

static void connections(void)
{
    xfer_engine *engine = open_engine("127.0.0.1:0");
    xfer_connection *connection = NULL;
    uint8_t secret[XFER_SECRET_BYTES] = {1};
    xfer_connection_options good = {.size = sizeof good, .direction = XFER_DIRECTION_OPENER_SENDS, .secret = secret};
    xfer_connection_options options = good;
    options.secret = NULL;
    EXPECT(xfer_admit(engine, &options, &connection), XFER_ERR_ARGUMENT);
    options = good;
    options.direction = 0;
    EXPECT(xfer_admit(engine, &options, &connection), XFER_ERR_ARGUMENT);
    options.direction = 3;
    EXPECT(xfer_admit(engine, &options, &connection), XFER_ERR_UNSUPPORTED);
    options = good;
    options.suite = 9;
    EXPECT(xfer_admit(engine, &options, &connection), XFER_ERR_UNSUPPORTED);
    options = good;
    options.chunk_log2 = 40;
    EXPECT(xfer_admit(engine, &options, &connection), XFER_ERR_USAGE);
    EXPECT(xfer_connect(engine, &good, &connection), XFER_ERR_USAGE);
    xfer_path_pair path = {.remote = "127.0.0.1"};
    options = good;
    options.paths = &path;
    options.path_count = 1;
    EXPECT(xfer_connect(engine, &options, &connection), XFER_ERR_ARGUMENT);
    path.remote = NULL;
    EXPECT(xfer_connect(engine, &options, &connection), XFER_ERR_ARGUMENT);
    options.path_count = 65;
    EXPECT(xfer_connect(engine, &options, &connection), XFER_ERR_ARGUMENT);
    EXPECT(connection == NULL, 1);
    EXPECT(xfer_engine_close(engine), XFER_OK);
}

static void operations(void)
{
    struct pair pair = open_pair(0, 4);
    enum { LEN = 1 << 18 };
    static uint8_t bytes[LEN], to[LEN];
    xfer_operation op = operation(&pair, 1, 99);
    EXPECT(submit(&pair, 1, op), XFER_ERR_UNSUPPORTED);
    op = operation(&pair, 1, XFER_OP_ACCEPT);
    EXPECT(submit(&pair, 1, op), XFER_ERR_ARGUMENT);
    op = operation(&pair, 0, XFER_OP_SEND);
    EXPECT(submit(&pair, 0, op), XFER_ERR_ARGUMENT);
    EXPECT(submit(&pair, 1, op), XFER_ERR_ARGUMENT);
    op = operation(&pair, 1, XFER_OP_SEND);
    op.len = LEN;
    EXPECT(submit(&pair, 1, op), XFER_ERR_ARGUMENT);
    op.len = UINT64_MAX;
    op.data = bytes;
    EXPECT(submit(&pair, 1, op), XFER_ERR_ARGUMENT);
    op.len = 3;
    op.name = "a/../b";
    op.name_len = 6;
    EXPECT(submit(&pair, 1, op), XFER_ERR_USAGE);
    op.name = NULL;
    op.flags = 1u << 30;
    EXPECT(submit(&pair, 1, op), XFER_ERR_UNSUPPORTED);
    op = operation(&pair, 1, XFER_OP_SEND_FILE);
    op.fd = -1;
    EXPECT(submit(&pair, 1, op), XFER_ERR_ARGUMENT);
    op.fd = 1000;
    EXPECT(submit(&pair, 1, op), XFER_ERR_ARGUMENT);
    op = operation(&pair, 0, XFER_OP_ACCEPT);
    op.object = 0;
    EXPECT(submit(&pair, 0, op), XFER_ERR_ARGUMENT);
    char detail[128];
    EXPECT(xfer_detail(pair.connections[0], detail, sizeof detail), XFER_OK);
    EXPECT(strstr(detail, "object 0") != NULL, 1);

    /* Too little memory, and an object that was answered. */
    EXPECT(submit(&pair, 1, on_memory(&pair, 1, XFER_OP_SEND, bytes, LEN)), 1);
    op = accept_next(&pair, to, LEN - 1);
    EXPECT(submit(&pair, 0, op), XFER_ERR_ARGUMENT);
    op.len = LEN;
    EXPECT(submit(&pair, 0, op), 1);
    EXPECT(submit(&pair, 0, op), XFER_ERR_ARGUMENT);
    next(&pair, 0, XFER_EVENT_RECEIVED);
    next(&pair, 1, XFER_EVENT_SENT);

    /* Live children keep their parents. */
    EXPECT(xfer_connection_close(pair.connections[1]), XFER_ERR_BUSY);
    EXPECT(xfer_engine_close(pair.engines[1]), XFER_ERR_BUSY);
    xfer_memory *memory = NULL;
    xfer_memory_options options = {.size = sizeof options, .data = to, .len = LEN};
    EXPECT(xfer_memory_register(pair.engines[0], &options, &memory), XFER_OK);
    op = operation(&pair, 1, XFER_OP_SEND);
    op.memory = memory;
    op.len = 1;
    EXPECT(submit(&pair, 1, op), XFER_ERR_ARGUMENT);
    EXPECT(xfer_memory_unregister(memory), XFER_OK);
    EXPECT(submit(&pair, 1, op), XFER_ERR_HANDLE);
    EXPECT(submit(&pair, 1, operation(&pair, 1, XFER_OP_FINISH)), 1);
    op.memory = NULL;
    op.data = bytes;
    EXPECT(submit(&pair, 1, op), XFER_ERR_ENDED);
    for (int end = 0; end < 2; end++)
        EXPECT(next(&pair, end, XFER_EVENT_FINISHED).status, XFER_OK);
    EXPECT(submit(&pair, 1, op), XFER_ERR_ENDED);
    close_connections(&pair);
    EXPECT(submit(&pair, 1, op), XFER_ERR_HANDLE);
    close_engines(&pair);
}

/* Memory that a connection receives a stream into is nobody else's until the stream ends. */
static void overlapping(void)
{
    struct pair streaming = open_pair(0, 0), other = streaming;
    enum { LEN = 1 << 17 };
    static uint8_t bytes[LEN], to[LEN];
    int stream[2];
    EXPECT(pipe(stream), 0);
    xfer_operation op = operation(&streaming, 1, XFER_OP_SEND_STREAM);
    op.fd = stream[0];
    EXPECT(submit(&streaming, 1, op), 1);
    xfer_completion offered = next(&streaming, 0, XFER_EVENT_OFFERED);
    EXPECT(offered.bytes == XFER_SIZE_OPEN, 1);
    op = operation(&streaming, 0, XFER_OP_ACCEPT);
    op.object = offered.object;
    op.data = to;
    op.len = LEN;
    EXPECT(submit(&streaming, 0, op), 1);

    connect_pair(&other, 0, 0);
    EXPECT(submit(&other, 1, on_memory(&other, 1, XFER_OP_SEND, bytes, LEN)), 1);
    op = accept_next(&other, to + LEN - 1, LEN);
    EXPECT(submit(&other, 0, op), XFER_ERR_BUSY);
    op.kind = XFER_OP_REFUSE;
    EXPECT(submit(&other, 0, op), 1);
    EXPECT(next(&other, 0, XFER_EVENT_RECEIVED).status, XFER_ERR_REFUSED);
    EXPECT(submit(&other, 1, operation(&other, 1, XFER_OP_FINISH)), 1);
    for (int end = 0; end < 2; end++)
        EXPECT(next(&other, end, XFER_EVENT_FINISHED).status, XFER_OK);
    close_connections(&other);

    EXPECT(write(stream[1], "end", 3), 3);
    close(stream[0]);
    close(stream[1]);
    EXPECT(next(&streaming, 0, XFER_EVENT_RECEIVED).bytes, 3);
    EXPECT(memcmp(to, "end", 3), 0);
    for (int end = 0; end < 2; end++)
        EXPECT(next(&streaming, end, XFER_EVENT_FINISHED).status, XFER_OK);
    close_connections(&streaming);
    close_engines(&streaming);
}

static void *polls(void *engine)
{
    xfer_completion completion;
    int count;
    do {
        count = xfer_poll(engine, &completion, 1, 60000000000);
    } while (count == XFER_ERR_BUSY);
    return (void *)(intptr_t)count;
}

/* A thread that waits, and one that polls meanwhile; then the first is let go by a completion. */
static void two_threads(void)
{
    struct pair pair = open_pair(0, 0);
    next(&pair, 0, XFER_EVENT_CONNECTED);
    next(&pair, 0, XFER_EVENT_PATH_UP);
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, polls, pair.engines[0]), 0);
    xfer_completion completion;
    int status;
    do {
        status = xfer_poll(pair.engines[0], &completion, 1, 0);
    } while (status == 0);
    EXPECT(status, XFER_ERR_BUSY);
    xfer_operation send = operation(&pair, 1, XFER_OP_SEND);
    EXPECT(submit(&pair, 1, send), 1);
    void *count;
    EXPECT(pthread_join(thread, &count), 0);
    EXPECT((intptr_t)count, 1);
    finish_pair(&pair);
}

static void nothing(int signal)
{
    (void)signal;
}

/* A signal handler that ran ends the wait. */
static void interrupted(void)
{
    xfer_engine *engine = open_engine(NULL);
    struct sigaction action = {.sa_handler = nothing};
    EXPECT(sigaction(SIGALRM, &action, NULL), 0);
    struct itimerval timer = {.it_value = {.tv_usec = 50000}, .it_interval = {.tv_usec = 50000}};
    EXPECT(setitimer(ITIMER_REAL, &timer, NULL), 0);
    xfer_completion completion;
    EXPECT(xfer_poll(engine, &completion, 1, -1), 0);
    timer = (struct itimerval){0};
    EXPECT(setitimer(ITIMER_REAL, &timer, NULL), 0);
    EXPECT(xfer_engine_close(engine), XFER_OK);
}

int main(void)
{
    interrupted();
    nulls();
    handles();
    structs();
    connections();
    operations();
    overlapping();
    two_threads();
    EXPECT(strcmp(xfer_strerror(XFER_ERR_FULL), "queue full"), 0);
    EXPECT(strcmp(xfer_strerror(-4711), "unknown status"), 0);
    EXPECT(xfer_abi() >= XFER_ABI, 1);
    puts("ok");
    return 0;
}
