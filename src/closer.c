/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors are closed beside the tool's own work: to detach a uprobe, the
 * kernel waits for grace periods, some 50 ms each, which can pass at the same time.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plainsight.h"

#define THREADS_MAX 32

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned running; /* threads, under lock */

struct job {
	uint32_t count;
	int32_t fds[];
};

static void close_all(const int32_t *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		close(fds[i]);
}

static void *run(void *argument)
{
	struct job *job = argument;

	close_all(job->fds, job->count);
	free(job);
	pthread_mutex_lock(&lock);
	running--;
	pthread_cond_signal(&ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Returns false when there is no thread for it. */
static bool start(const int32_t *fds, uint32_t count)
{
	struct job *job = malloc(sizeof(*job) + count * sizeof(*fds));
	pthread_t thread;

	if (!job)
		return false;
	job->count = count;
	memcpy(job->fds, fds, count * sizeof(*fds));
	if (pthread_create(&thread, NULL, run, job) != 0) {
		free(job);
		return false;
	}
	pthread_detach(thread);
	return true;
}

void ps_close_later(const int32_t *fds, uint32_t count)
{
	bool has_room;

	pthread_mutex_lock(&lock);
	has_room = running < THREADS_MAX;
	running += has_room;
	pthread_mutex_unlock(&lock);
	if (has_room && start(fds, count))
		return;
	close_all(fds, count);
	if (has_room) {
		pthread_mutex_lock(&lock);
		running--;
		pthread_mutex_unlock(&lock);
	}
}

void ps_close_wait(void)
{
	pthread_mutex_lock(&lock);
	while (running > 0)
		pthread_cond_wait(&ended, &lock);
	pthread_mutex_unlock(&lock);
}
