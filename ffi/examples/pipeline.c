/* Pipes a generator into a remote consumer. One process plays both: each end has an engine, one epoll watches both. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <xfer.h>

enum { NUMBERS = 1 << 20 };

static void check(int status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, xfer_strerror(status));
    exit(1);
}

/* Writes the numbers from 0 on. */
static void *generate(void *to)
{
    FILE *out = fdopen(*(int *)to, "w");
    for (uint32_t i = 0; out && i < NUMBERS; i++)
        fwrite(&i, sizeof i, 1, out);
    if (out)
        fclose(out);
    return NULL;
}

/* Reads numbers, and returns how many came in order. */
static void *consume(void *from)
{
    static uint32_t seen;
    FILE *in = fdopen(*(int *)from, "r");
    uint32_t number;
    while (in && fread(&number, sizeof number, 1, in) == 1 && number == seen)
        seen++;
    if (in)
        fclose(in);
    return &seen;
}

static xfer_engine *engine_on(const char *address)
{
    xfer_engine_options options = {.size = sizeof options};
    options.workers = 1;
    options.listen = &address;
    options.listen_count = address ? 1 : 0;
    xfer_engine *engine = NULL;
    check(xfer_engine_open(&options, &engine), "open");
    return engine;
}

/* Takes what an engine has to tell; -1 when its connection has ended. */
static int take(xfer_engine *engine, xfer_connection *connection, int *out)
{
    xfer_completion completions[16];
    int count = xfer_poll(engine, completions, 16, 0);
    check(count, "poll");
    for (int i = 0; i < count; i++) {
        if (completions[i].status != XFER_OK) {
            fprintf(stderr, "%s\n", completions[i].text);
            exit(1);
        }
        if (completions[i].kind == XFER_EVENT_OFFERED) {
            xfer_operation accept = {.size = sizeof accept, .kind = XFER_OP_ACCEPT_FILE};
            accept.connection = connection;
            accept.object = completions[i].object;
            accept.fd = *out;
            check(xfer_submit(engine, &accept, 1), "accept");
            close(*out);
        }
        if (completions[i].kind == XFER_EVENT_FINISHED)
            return -1;
    }
    return 0;
}

int main(void)
{
    int produced[2], consumed[2];
    if (pipe(produced) != 0 || pipe(consumed) != 0) {
        perror("pipe");
        return 1;
    }
    pthread_t generator, consumer;
    pthread_create(&generator, NULL, generate, &produced[1]);
    pthread_create(&consumer, NULL, consume, &consumed[0]);

    xfer_engine *engines[2] = {engine_on("127.0.0.1:0"), engine_on(NULL)};
    xfer_connection *connections[2];
    uint8_t secret[XFER_SECRET_BYTES];
    check(xfer_secret(secret), "secret");
    char address[64];
    check(xfer_engine_address(engines[0], 0, address, sizeof address), "address");
    xfer_path_pair path = {.remote = address};
    xfer_connection_options options = {.size = sizeof options};
    options.direction = XFER_DIRECTION_OPENER_SENDS;
    options.secret = secret;
    options.chunk_log2 = 16;
    check(xfer_admit(engines[0], &options, &connections[0]), "admit");
    options.paths = &path;
    options.path_count = 1;
    check(xfer_connect(engines[1], &options, &connections[1]), "connect");

    xfer_operation send = {.size = sizeof send, .kind = XFER_OP_SEND_STREAM};
    send.connection = connections[1];
    send.fd = produced[0];
    check(xfer_submit(engines[1], &send, 1), "send");
    close(produced[0]);

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        int fd = xfer_engine_eventfd(engines[i]);
        check(fd, "eventfd");
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            perror("epoll_ctl");
            return 1;
        }
    }
    for (int live = 2; live > 0;) {
        struct epoll_event event;
        int count = epoll_wait(epoll, &event, 1, -1);
        if (count < 0 && errno != EINTR) {
            perror("epoll_wait");
            return 1;
        }
        if (count == 1 && take(engines[event.data.u32], connections[event.data.u32], &consumed[1]) < 0)
            live--;
    }
    close(epoll);
    for (int i = 0; i < 2; i++) {
        check(xfer_connection_close(connections[i]), "close a connection");
        check(xfer_engine_close(engines[i]), "close an engine");
    }
    void *seen;
    pthread_join(generator, NULL);
    pthread_join(consumer, &seen);
    printf("%u of %d numbers in order\n", *(uint32_t *)seen, NUMBERS);
    return *(uint32_t *)seen == NUMBERS ? 0 : 1;
}
