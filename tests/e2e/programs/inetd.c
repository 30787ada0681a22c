/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of the inetd kind: every connection becomes standard input and
 * output of a new process. Prints its port.
 *
 * usage: inetd PROGRAM [ARGUMENT...]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc < 2)
		errx(2, "usage: inetd PROGRAM [ARGUMENT...]");
	if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 16))
		err(1, "listen");
	getsockname(listener, (struct sockaddr *)&address, &len);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fork() == 0) {
			dup2(fd, STDIN_FILENO);
			dup2(fd, STDOUT_FILENO);
			execv(argv[1], argv + 1);
			_exit(127);
		}
		close(fd);
	}
}
