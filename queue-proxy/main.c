// SPDX-License-Identifier: Apache-2.0
/*
 * lull-queue-proxy: reads its settings, starts the parts, says READY=1 when the function listens.
 *
 * SIGTERM: STOPPING=1, activators are refused from now on, running requests go on; it ends when no
 * request ran or came for drain-quiet, at the latest after drain-timeout. A second signal or the
 * end of the lifeline: at once. SIGHUP: the function was started again, so it is probed anew and
 * READY=1 is said again.
 */

#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "loop/lifeline.h"
#include "loop/notify.h"
#include "loop/signals.h"
#include "queue-proxy/admin.h"

struct app {
    struct loop loop;
    struct config config;
    struct proxy proxy;
    struct admin admin;
    struct signals signals;
    struct lifeline lifeline;
    struct timer drain;
    uint64_t drain_since_ms;
    bool admin_started;
    bool stopping;
    int exit_code;
};

static void notify(const char *state)
{
    struct error err;
    if (notify_send(state, &err) < 0) {
        LOG_WARN("cannot tell the supervisor", LOG_ERR(&err));
    }
}

static void on_ready(struct prober *prober)
{
    struct proxy *proxy = prober->data;
    struct app *app = proxy->data;
    if (!proxy->draining && !app->stopping) {
        notify(prober->ready ? NOTIFY_READY : NOTIFY_UNREADY);
    }
    LOG_INFO("readiness of the function", LOG_INT("port", app->config.user_port),
             LOG_BOOL("ready", prober->ready));
}

static void stop(struct app *app)
{
    if (app->stopping) {
        return;
    }
    app->stopping = true;
    proxy_close(&app->proxy, NULL);
    if (app->admin_started) {
        admin_close(&app->admin, NULL);
    }
    signals_close(&app->signals, NULL);
    lifeline_close(&app->lifeline, NULL);
    timer_close(&app->drain, NULL);
}

/* ---- drain ---- */

static void check_drain(struct app *app)
{
    struct proxy *p = &app->proxy;
    uint64_t now = loop_now_ms(&app->loop);
    if (now - app->drain_since_ms >= app->config.drain_timeout_ms) {
        LOG_WARN("requests are cut off", LOG_UINT("requests", proxy_active(p)));
        stop(app);
        return;
    }
    uint64_t quiet_since =
        p->last_request_ms > app->drain_since_ms ? p->last_request_ms : app->drain_since_ms;
    uint64_t quiet = now - quiet_since;
    uint64_t left = app->drain_since_ms + app->config.drain_timeout_ms - now;
    if (proxy_active(p) == 0 && quiet >= app->config.drain_quiet_ms) {
        admin_drained(&app->admin);
        http_server_drain(http_simple_server(app->admin.simple), NULL, NULL);
        stop(app);
        return;
    }
    if (proxy_active(p) == 0 && app->config.drain_quiet_ms - quiet < left) {
        left = app->config.drain_quiet_ms - quiet;
    }
    timer_start(&app->drain, left);
}

static void on_drain_timer(struct timer *timer)
{
    check_drain(timer->data);
}

/* Not at once: we are inside the last request's end. */
static void on_proxy_idle(struct proxy *proxy)
{
    struct app *app = proxy->data;
    timer_start(&app->drain, 0);
}

static void on_signal(struct signals *signals, int signum)
{
    struct app *app = signals->data;
    if (signum == SIGHUP) {
        prober_suspect(&app->proxy.prober);
        return;
    }
    if (app->proxy.draining) {
        stop(app);
        return;
    }
    LOG_INFO("draining", LOG_INT("signal", signum));
    notify(NOTIFY_STOPPING);
    app->drain_since_ms = loop_now_ms(&app->loop);
    proxy_drain(&app->proxy, on_proxy_idle);
    check_drain(app);
}

static void on_orphaned(struct lifeline *lifeline)
{
    stop(lifeline->data);
}

static int start(struct app *app, struct error *err)
{
    int rc = proxy_start(&app->proxy, &app->loop, &app->config, on_ready, app, err);
    if (rc == 0) {
        app->admin_started = true;
        rc = admin_start(&app->admin, &app->loop, &app->proxy, app->config.admin_listen, err);
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct error err;
    log_init("queue-proxy");
    options_main(&config_table, LULL_VERSION, argc, argv, &app.config);
    if (loop_init(&app.loop, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        return 1;
    }
    timer_init(&app.drain, &app.loop, on_drain_timer, &app);
    if (signals_start(&app.signals, &app.loop, on_signal, &app, &err) < 0 ||
        signals_add(&app.signals, SIGHUP, &err) < 0 ||
        lifeline_start(&app.lifeline, &app.loop, on_orphaned, &app, &err) < 0 ||
        start(&app, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        app.exit_code = 1;
        stop(&app);
    }
    loop_run(&app.loop);
    if (loop_fini(&app.loop, &err) < 0) {
        LOG_DEBUG("left open", LOG_ERR(&err));
    }
    options_fini(&config_table, &app.config);
    return app.exit_code;
}
