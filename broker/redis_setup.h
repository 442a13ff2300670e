// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * From the settings to a connection: how the Redis of the events is reached, what of it we need,
 * and which of its ports no delivery may call. Pure but for the file of --redis-file.
 */

#include "redis/conn.h"
#include "broker/config.h"

/* Borrows from config. wait_replicas is for connections that acknowledge what senders sent. */
MUST_CHECK int redis_setup(const struct config *config, struct redis_conn_options *out,
                           struct error *err);
/* The ports of Redis and of the Sentinels; returns how many. */
size_t redis_setup_ports(const struct config *config, uint16_t *ports, size_t max);
