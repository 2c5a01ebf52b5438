/* The service of every measurement: `sleep` that says when it has begun.
 *
 *   beacon FIFO NAME               announce "NAME PID NANOSECONDS" (CLOCK_MONOTONIC), then sleep
 *   beacon FIFO NAME lines COUNT   the same; after SIGUSR1 write COUNT numbered lines of 100 bytes
 *                                  to stdout, announce "NAME.done PID NANOSECONDS", then sleep
 *   beacon FIFO NAME storm FILE    end at once with code 1, without a word, if FILE exists
 *
 * In C and static, so that the figures show the supervisor and not the start of an interpreter.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WIDTH 100
#define BATCH 80 /* lines in one write: 8000 bytes, near what a buffered stdout writes */

static void announce(const char *fifo, const char *name, const char *what)
{
    struct timespec now;
    char line[256];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s%s %ld %lld\n", name, what, (long)getpid(),
                          now.tv_sec * 1000000000LL + now.tv_nsec);
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);
    /* One write of less than PIPE_BUF bytes is never mixed with another's. */
    if (fd < 0 || write(fd, line, (size_t)length) != length)
        _exit(111);
    close(fd);
}

static void write_all(const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(1, data, size);
        if (written < 0)
            _exit(112);
        data += written;
        size -= (size_t)written;
    }
}

static void write_lines(long count)
{
    static char batch[BATCH * WIDTH];
    memset(batch, 'x', sizeof batch);
    for (long number = 0; number < count;) {
        size_t used = 0;
        for (; used < sizeof batch && number < count; number++, used += WIDTH) {
            char *line = batch + used;
            long rest = number;
            for (int digit = 11; digit >= 0; digit--, rest /= 10)
                line[digit] = (char)('0' + rest % 10);
            line[12] = ' ';
            line[WIDTH - 1] = '\n';
        }
        write_all(batch, used);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    if (argc > 4 && strcmp(argv[3], "storm") == 0 && access(argv[4], F_OK) == 0)
        return 1;
    sigset_t go;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    announce(argv[1], argv[2], "");
    if (argc > 4 && strcmp(argv[3], "lines") == 0) {
        int got;
        sigwait(&go, &got);
        write_lines(atol(argv[4]));
        announce(argv[1], argv[2], ".done");
    }
    for (;;)
        pause();
}
