/* Uses a node: client LINK DIR. */

#include "pair.h"

static xfer_engine *engine;
static xfer_client *client;

static void client_op(uint32_t kind, const char *there, const char *here, uint32_t flags, uint64_t user)
{
    xfer_operation operation = {.size = sizeof operation, .kind = kind, .user = user, .flags = flags};
    operation.client = client;
    operation.name = there;
    operation.name_len = (uint32_t)strlen(there);
    operation.data = (void *)here;
    operation.len = here ? strlen(here) : 0;
    EXPECT(xfer_submit(engine, &operation, 1), 1);
}

/* Takes completions up to the operation's end; how many entries came. */
static int ended(uint64_t user, int status)
{
    int entries = 0;
    for (;;) {
        xfer_completion completion;
        EXPECT(xfer_poll(engine, &completion, 1, 60000000000), 1);
        EXPECT(completion.user, user);
        if (completion.kind == XFER_EVENT_DONE) {
            if (completion.status != status)
                fprintf(stderr, "%s\n", completion.text ? completion.text : "");
            EXPECT(completion.status, status);
            return entries;
        }
        EXPECT(completion.kind, XFER_EVENT_ENTRY);
        entries++;
        if (completion.name_len == 1 && completion.name[0] == 'a')
            EXPECT(completion.bytes, 12);
        if (completion.name_len == 3 && memcmp(completion.name, "sub", 3) == 0)
            EXPECT(completion.flags & XFER_COMPLETION_DIRECTORY, XFER_COMPLETION_DIRECTORY);
    }
}

int main(int argc, char **argv)
{
    EXPECT(argc, 3);
    engine = open_engine(NULL);
    xfer_client_options options = {.size = sizeof options, .link = "http://nowhere"};
    EXPECT(xfer_client_open(engine, &options, &client), XFER_ERR_ARGUMENT);
    options.link = argv[1];
    EXPECT(xfer_client_open(engine, &options, &client), XFER_OK);
    EXPECT(xfer_engine_close(engine), XFER_ERR_BUSY);

    client_op(XFER_OP_CLIENT_LIST, "", NULL, 0, 1);
    EXPECT(xfer_client_close(client), XFER_ERR_BUSY);
    EXPECT(ended(1, XFER_OK), 2);
    client_op(XFER_OP_CLIENT_LIST, "", NULL, XFER_OP_FLAG_RECURSIVE, 2);
    EXPECT(ended(2, XFER_OK), 3);
    client_op(XFER_OP_CLIENT_STAT, "a", NULL, 0, 3);
    EXPECT(ended(3, XFER_OK), 1);
    client_op(XFER_OP_CLIENT_STAT, "nothing", NULL, 0, 4);
    EXPECT(ended(4, XFER_ERR_NO_SOURCE), 0);

    char got[512], a[512];
    snprintf(got, sizeof got, "%s/got", argv[2]);
    snprintf(a, sizeof a, "%s/a", argv[2]);
    client_op(XFER_OP_CLIENT_GET, "sub/b", got, 0, 5);
    EXPECT(ended(5, XFER_OK), 0);
    client_op(XFER_OP_CLIENT_GET, "a", a, 0, 6);
    EXPECT(ended(6, XFER_OK), 0);
    client_op(XFER_OP_CLIENT_PUT, "put", a, 0, 7);
    EXPECT(ended(7, XFER_OK), 0);
    client_op(XFER_OP_CLIENT_GET, "nothing", a, 0, 8);
    EXPECT(ended(8, XFER_ERR_NO_SOURCE), 0);

    xfer_operation wrong = {.size = sizeof wrong, .kind = XFER_OP_CLIENT_GET, .client = client};
    EXPECT(xfer_submit(engine, &wrong, 1), XFER_ERR_ARGUMENT);
    char detail[64];
    EXPECT(xfer_detail(client, detail, sizeof detail), XFER_OK);
    EXPECT(strcmp(detail, "no local path"), 0);
    wrong.kind = XFER_OP_CLIENT_CANCEL;
    EXPECT(xfer_submit(engine, &wrong, 1), 1);
    EXPECT(xfer_client_close(client), XFER_OK);
    EXPECT(xfer_client_close(client), XFER_ERR_HANDLE);
    EXPECT(xfer_engine_close(engine), XFER_OK);
    puts("ok");
    return 0;
}
