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

static void read_op(const char *there, uint64_t offset, void *to, uint64_t len, uint64_t user)
{
    xfer_operation operation = {.size = sizeof operation, .kind = XFER_OP_CLIENT_READ, .user = user, .client = client};
    operation.name = there;
    operation.name_len = (uint32_t)strlen(there);
    operation.data = to;
    operation.len = len;
    operation.offset = offset;
    EXPECT(xfer_submit(engine, &operation, 1), 1);
}

/* Waits for one range: how many bytes came. */
static uint64_t came(uint64_t user, int status, uint64_t size)
{
    xfer_completion completion;
    EXPECT(xfer_poll(engine, &completion, 1, 60000000000), 1);
    EXPECT(completion.user, user);
    EXPECT(completion.kind, XFER_EVENT_DONE);
    EXPECT(completion.status, status);
    EXPECT(completion.object, size);
    EXPECT(!!(completion.flags & XFER_COMPLETION_DIGEST), status == XFER_OK);
    return completion.bytes;
}

/* Ranges of the file `a`, which has 12 bytes, and of `sub/b`, which has 3,000,000. */
static void ranges(void)
{
    char small[16];
    memset(small, '-', sizeof small);
    read_op("a", 8, small, 3, 20);
    EXPECT(came(20, XFER_OK, 12), 3);
    EXPECT(memcmp(small, "of -", 4), 0);
    read_op("a", 8, small, sizeof small, 21);
    EXPECT(came(21, XFER_OK, 12), 4);
    EXPECT(memcmp(small, "of a-", 5), 0);
    read_op("a", 12, small, 1, 22);
    EXPECT(came(22, XFER_OK, 12), 0);
    read_op("a", UINT64_MAX, small, 1, 23);
    EXPECT(came(23, XFER_OK, 12), 0);
    read_op("a", 0, NULL, 0, 24);
    EXPECT(came(24, XFER_OK, 12), 0);
    read_op("nothing", 0, small, 1, 25);
    EXPECT(came(25, XFER_ERR_NO_SOURCE, 0), 0);
    EXPECT(memcmp(small, "of a-", 5), 0);

    /* Memory that is in use stays so until the completion; many are read at once. */
    enum { LONG = 9000000, COUNT = 100 };
    static unsigned char room[LONG], many[COUNT];
    read_op("sub/b", 1, room, LONG, 26);
    xfer_operation again = {.size = sizeof again, .kind = XFER_OP_CLIENT_READ, .client = client, .name = "a", .name_len = 1};
    again.data = room + LONG - 1;
    again.len = 1;
    EXPECT(xfer_submit(engine, &again, 1), XFER_ERR_BUSY);
    EXPECT(xfer_client_close(client), XFER_ERR_BUSY);
    EXPECT(came(26, XFER_OK, 3000000), 2999999);
    EXPECT(room[0] == 7 && room[2999998] == 7, 1);
    EXPECT(room[2999999], 0);
    for (uint64_t at = 0; at < COUNT; at++)
        read_op("sub/b", at, many + at, 1, 100 + at);
    uint64_t users = 0;
    for (int left = COUNT; left > 0; left--) {
        xfer_completion completion;
        EXPECT(xfer_poll(engine, &completion, 1, 60000000000), 1);
        EXPECT(completion.bytes, 1);
        users += completion.user - 100;
    }
    EXPECT(users, COUNT * (COUNT - 1) / 2);
    for (int at = 0; at < COUNT; at++)
        EXPECT(many[at], 7);

    again.data = NULL;
    EXPECT(xfer_submit(engine, &again, 1), XFER_ERR_ARGUMENT);
    again.data = small;
    again.flags = XFER_OP_FLAG_RECURSIVE;
    EXPECT(xfer_submit(engine, &again, 1), XFER_ERR_UNSUPPORTED);
    again.flags = 0;
    again.len = UINT64_MAX;
    EXPECT(xfer_submit(engine, &again, 1), XFER_ERR_ARGUMENT);
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

    ranges();

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
