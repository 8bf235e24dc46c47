/* What the bench compares with and stands on; compiled when it runs, and no part of the package.
 *
 *   echo PORT     the floor: recvmmsg, set QR, sendmmsg; nothing is read of the packet
 *   answer PORT   the upstream of every peer: for a query of class IN and type A one record,
 *                 192.0.2.N with N the sum of the octets in its labels modulo 256; for any other type
 *                 no data, with an SOA; EDNS is answered with EDNS
 *
 * One socket on 127.0.0.1, batches of 64, no allocation. Ends with SIGTERM.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    BATCH = 64,
    ROOM = 1024,        /* octets of a datagram; longer ones are cut and not answered */
    HEADER = 12,
    TTL_SECONDS = 86400,
};

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in addresses[BATCH];
static uint8_t octets[BATCH][ROOM];

static const uint8_t OPT[11] = {0, 0, 41, 1232 >> 8, 1232 & 255};
/* The root's, for any name: owner, MNAME and RNAME are all ".". */
static const uint8_t SOA[] = {
    0, 0, 6, 0, 1, 0, 1, 0x51, 0x80, 0, 22,
    0, 0, 0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 14, 16, 0, 1, 0x51, 0x80, 0, 0, 14, 16,
};

/* Make `wire`, a query of `length` octets, its own answer; return its length, 0 for no query. */
static size_t answer(uint8_t *wire, size_t length)
{
    size_t at = HEADER;
    unsigned sum = 0;
    if (length < HEADER + 5 || (wire[2] & 0xF8) || wire[4] || wire[5] != 1)
        return 0;
    while (at < length && wire[at]) {
        size_t end = at + 1 + wire[at];
        if (wire[at] > 63 || end >= length)
            return 0;
        for (at++; at < end; at++)
            sum += wire[at] >= 'A' && wire[at] <= 'Z' ? wire[at] + 32 : wire[at];
    }
    if (at + 5 > length)
        return 0;
    int is_a = wire[at + 1] == 0 && wire[at + 2] == 1;
    int has_opt = wire[10] || wire[11];
    at += 5;
    wire[2] = 0x80 | (wire[2] & 1);
    wire[3] = 0x80;
    wire[7] = (uint8_t) is_a;
    wire[9] = (uint8_t) !is_a;
    wire[6] = wire[8] = wire[10] = 0;
    wire[11] = (uint8_t) has_opt;
    if (is_a) {
        const uint8_t record[16] = {
            0xC0, HEADER, 0, 1, 0, 1, TTL_SECONDS >> 24, (TTL_SECONDS >> 16) & 255,
            (TTL_SECONDS >> 8) & 255, TTL_SECONDS & 255, 0, 4, 192, 0, 2, (uint8_t) sum,
        };
        memcpy(wire + at, record, sizeof record);
        at += sizeof record;
    } else {
        memcpy(wire + at, SOA, sizeof SOA);
        at += sizeof SOA;
    }
    if (has_opt) {
        memcpy(wire + at, OPT, sizeof OPT);
        at += sizeof OPT;
    }
    return at;
}

int main(int count, char **words)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (count != 3 || fd < 0) {
        fprintf(stderr, "usage: echo echo|answer PORT\n");
        return 2;
    }
    int is_answering = !strcmp(words[1], "answer");
    here.sin_port = htons((uint16_t) atoi(words[2]));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *) &here, sizeof here)) {
        perror("bind");
        return 1;
    }
    for (;;) {
        int received, kept = 0;
        for (int i = 0; i < BATCH; i++) {
            vectors[i] = (struct iovec) {octets[i], ROOM};
            messages[i].msg_hdr = (struct msghdr) {
                .msg_name = &addresses[i], .msg_namelen = sizeof addresses[i],
                .msg_iov = &vectors[i], .msg_iovlen = 1,
            };
        }
        received = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < received; i++) {
            size_t length = messages[i].msg_len;
            if (length < HEADER || length > ROOM - 64)
                continue;
            if (is_answering)
                length = answer(octets[i], length);
            else
                octets[i][2] |= 0x80;
            if (!length)
                continue;
            vectors[i].iov_len = length;
            messages[kept++].msg_hdr = messages[i].msg_hdr;
        }
        for (int sent = 0; sent < kept;) {
            int now = sendmmsg(fd, messages + sent, (unsigned) (kept - sent), 0);
            sent += now > 0 ? now : 1; /* one that cannot be sent is left out */
        }
    }
}
