/* Receives one file: receive_file LISTEN SECRET FILE. Prints the address that it listens on. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
        fprintf(stderr, "usage: receive_file LISTEN SECRET FILE\n");
        return 2;
    }
    char why[256] = "";
    const char *listen[] = {argv[1]};
    xfer_engine_options engine_options = {.size = sizeof engine_options};
    engine_options.listen = listen;
    engine_options.listen_count = 1;
    engine_options.error = why;
    engine_options.error_size = sizeof why;
    xfer_engine *engine = NULL;
    if (xfer_engine_open(&engine_options, &engine) != XFER_OK) {
        fprintf(stderr, "open: %s\n", why);
        return 1;
    }

    xfer_connection_options options = {.size = sizeof options};
    options.direction = XFER_DIRECTION_OPENER_SENDS;
    options.secret = secret;
    xfer_connection *connection = NULL;
    check(xfer_admit(engine, &options, &connection), engine, "admit");

    char address[64];
    check(xfer_engine_address(engine, 0, address, sizeof address), engine, "address");
    printf("%s\n", address);
    fflush(stdout);

    int file = open(argv[3], O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (file < 0) {
        perror(argv[3]);
        return 1;
    }
    int status = XFER_OK, finished = 0;
    while (!finished) {
        xfer_completion completions[16];
        int count = xfer_poll(engine, completions, 16, -1);
        check(count, engine, "poll");
        for (int i = 0; i < count; i++) {
            const xfer_completion *completion = &completions[i];
            if (completion->kind == XFER_EVENT_OFFERED && completion->flags & XFER_COMPLETION_WHOLE) {
                if (pwrite(file, completion->data, completion->bytes, 0) != (ssize_t)completion->bytes)
                    status = XFER_ERR_FATAL;
            } else if (completion->kind == XFER_EVENT_OFFERED) {
                xfer_operation accept = {.size = sizeof accept, .kind = XFER_OP_ACCEPT_FILE};
                accept.connection = connection;
                accept.object = completion->object;
                accept.fd = file;
                check(xfer_submit(engine, &accept, 1), engine, "accept");
            } else if (completion->kind == XFER_EVENT_RECEIVED || completion->kind == XFER_EVENT_FINISHED) {
                if (completion->status != XFER_OK) {
                    fprintf(stderr, "%s\n", completion->text);
                    status = completion->status;
                }
                finished |= completion->kind == XFER_EVENT_FINISHED;
            }
        }
    }
    close(file);
    check(xfer_connection_close(connection), connection, "close the connection");
    check(xfer_engine_close(engine), engine, "close the engine");
    return status == XFER_OK ? 0 : 1;
}
