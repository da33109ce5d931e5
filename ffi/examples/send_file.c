/* Sends one file: send_file ADDRESS SECRET FILE. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xfer.h>

static int secret_from(const char *hex, uint8_t secret[XFER_SECRET_BYTES])
{
    for (int i = 0; i < XFER_SECRET_BYTES; i++) {
        if (sscanf(hex + 2 * i, "%2hhx", &secret[i]) != 1)
            return -1;
    }
    return 0;
}

static void check(int status, const void *handle, const char *what)
{
    if (status >= 0)
        return;
    char detail[256] = "";
    xfer_detail(handle, detail, sizeof detail);
    fprintf(stderr, "%s: %s: %s\n", what, xfer_strerror(status), detail);
    exit(1);
}

int main(int argc, char **argv)
{
    uint8_t secret[XFER_SECRET_BYTES];
    if (argc != 4 || secret_from(argv[2], secret) != 0) {
        fprintf(stderr, "usage: send_file ADDRESS SECRET FILE\n");
        return 2;
    }
    int file = open(argv[3], O_RDONLY);
    struct stat of;
    if (file < 0 || fstat(file, &of) != 0) {
        perror(argv[3]);
        return 1;
    }
    xfer_engine_options engine_options = {.size = sizeof engine_options};
    xfer_engine *engine = NULL;
    check(xfer_engine_open(&engine_options, &engine), NULL, "open");

    xfer_path_pair path = {.remote = argv[1]};
    xfer_connection_options options = {.size = sizeof options};
    options.direction = XFER_DIRECTION_OPENER_SENDS;
    options.secret = secret;
    options.paths = &path;
    options.path_count = 1;
    xfer_connection *connection = NULL;
    check(xfer_connect(engine, &options, &connection), engine, "connect");

    xfer_operation operations[2] = {
        {.size = sizeof operations[0], .kind = XFER_OP_SEND_FILE},
        {.size = sizeof operations[1], .kind = XFER_OP_FINISH},
    };
    operations[0].connection = operations[1].connection = connection;
    operations[0].name = "file";
    operations[0].name_len = 4;
    operations[0].fd = file;
    operations[0].len = (uint64_t)of.st_size;
    check(xfer_submit(engine, operations, 2), engine, "send");
    close(file);

    int status = XFER_OK, finished = 0;
    while (!finished) {
        xfer_completion completion;
        int count = xfer_poll(engine, &completion, 1, -1);
        check(count, engine, "poll");
        if (count == 0)
            continue;
        if (completion.status != XFER_OK) {
            fprintf(stderr, "%s\n", completion.text);
            status = completion.status;
        }
        finished = completion.kind == XFER_EVENT_FINISHED;
    }
    check(xfer_connection_close(connection), connection, "close the connection");
    check(xfer_engine_close(engine), engine, "close the engine");
    return status == XFER_OK ? 0 : 1;
}
