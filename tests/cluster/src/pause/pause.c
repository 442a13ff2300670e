// SPDX-License-Identifier: Apache-2.0
/* pause: holds the pod's namespaces, reaps zombies; also PID 1 of the "node" */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
static void down(int s)
{
    (void)s;
    _exit(0);
}
static void reap(int s)
{
    (void)s;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
int main(void)
{
    struct sigaction a = {0}, c = {0};
    a.sa_handler = down;
    c.sa_handler = reap;
    c.sa_flags = SA_NOCLDSTOP;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGCHLD, &c, NULL);
    reap(0);
    for (;;)
        pause();
}
