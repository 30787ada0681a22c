/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COUNT clients one after the other, each a process of its own that lives for
 * about a millisecond: connect, one GET, read to the end, exit.
 * Each logs a JSON line on stdout.
 *
 * usage: shortlived PORT COUNT
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void client(int port, int number)
{
	struct sockaddr_in remote = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in local;
	socklen_t len = sizeof(local);
	char text[4096];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&remote, sizeof(remote)))
		err(1, "connect");
	getsockname(fd, (struct sockaddr *)&local, &len);
	int head =
	    snprintf(text, sizeof(text), "GET /bytes/%d HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n", number);

	if (send(fd, text, (size_t)head, 0) != head)
		err(1, "send");
	while (recv(fd, text, sizeof(text), 0) > 0)
		;
	dprintf(STDOUT_FILENO,
		"{\"side\":\"client\",\"pid\":%d,\"local_port\":%d,\"remote_port\":%d,\"method\":\"GET\","
		"\"target\":\"/bytes/%d\",\"status\":200,\"response_bytes\":%d}\n",
		getpid(), ntohs(local.sin_port), port, number, number);
}

int main(int argc, char **argv)
{
	int status, failed = 0;

	if (argc != 3)
		errx(2, "usage: shortlived PORT COUNT");
	for (int i = 0; i < atoi(argv[2]); i++) {
		pid_t child = fork();

		if (child < 0)
			err(1, "fork");
		if (child == 0) {
			client(atoi(argv[1]), i);
			_exit(0);
		}
		waitpid(child, &status, 0);
		failed |= status;
	}
	return failed != 0;
}
