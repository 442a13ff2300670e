// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: proxy, then admin port; all else follows from signals. Failure: what did not start leaves
 * its handles to app_stop.
 */
#include "queue-proxy/app.h"

#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "loop/notify.h"

#define DRAIN_LINGER_MS 5000u /* longer than an activator keeps an idle connection */
#define DRAIN_LOOK_MS   20u

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
        if (prober->ready) {
            announcer_begin(&app->announcer);
        }
    }
    LOG_INFO("readiness of the function", LOG_INT("port", app->config->user_port),
             LOG_BOOL("ready", prober->ready));
}

void app_stop(struct app *app)
{
    if (app->stopping) {
        return;
    }
    app->stopping = true;
    if (app->proxy_started) {
        proxy_close(&app->proxy, NULL);
    }
    if (app->admin_started) {
        admin_close(&app->admin, NULL);
    }
    signals_close(&app->signals, NULL);
    lifeline_close(&app->lifeline, NULL);
    timer_close(&app->drain, NULL);
    announcer_close(&app->announcer);
}

/* ---- drain ---- */

static void check_drain(struct app *app)
{
    struct proxy *p = &app->proxy;
    uint64_t now = loop_now_ms(app->loop);
    if (now - app->drain_since_ms >= app->config->drain_timeout_ms) {
        LOG_WARN("requests are cut off", LOG_UINT("requests", proxy_active(p)));
        app_stop(app);
        return;
    }
    uint64_t quiet_since =
        p->last_request_ms > app->drain_since_ms ? p->last_request_ms : app->drain_since_ms;
    uint64_t quiet = now - quiet_since;
    uint64_t left = app->drain_since_ms + app->config->drain_timeout_ms - now;
    uint64_t enough = app->config->drain_quiet_ms;
    if (proxy_active(p) == 0 && quiet >= enough && proxy_connections(p) > 0) {
        /* An activator that has not heard of our end may be writing at this moment: it lets go of
           idle connections after a few seconds, or at once when it hears. */
        enough += DRAIN_LINGER_MS;
        left = left < DRAIN_LOOK_MS ? left : DRAIN_LOOK_MS;
    }
    if (proxy_active(p) == 0 && quiet >= enough) {
        admin_drained(&app->admin);
        http_admin_drain(&app->admin.http);
        app_stop(app);
        return;
    }
    if (proxy_active(p) == 0 && enough - quiet < left) {
        left = enough - quiet;
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
        app_stop(app);
        return;
    }
    LOG_INFO("draining", LOG_INT("signal", signum));
    notify(NOTIFY_STOPPING);
    app->drain_since_ms = loop_now_ms(app->loop);
    proxy_drain(&app->proxy, on_proxy_idle);
    check_drain(app);
}

static void on_orphaned(struct lifeline *lifeline)
{
    app_stop(lifeline->data);
}

int app_start(struct app *app, struct loop *loop, const struct config *config, struct error *err)
{
    static const enum log_level levels[] = {LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_INFO,
                                            LOG_LEVEL_WARN};
    app->loop = loop;
    app->config = config;
    if (config->log_level > 0) {
        log_set_level(config->log_level < (int)ARRAY_LEN(levels) ? levels[config->log_level]
                                                                 : LOG_LEVEL_ERROR);
    }
    timer_init(&app->drain, loop, on_drain_timer, app);
    announcer_init(&app->announcer, loop, config, &app->proxy);
    int rc_signals = signals_start(&app->signals, loop, on_signal, app, err);
    rc_signals = rc_signals < 0 ? rc_signals : signals_add(&app->signals, SIGHUP, err);
    int rc = lifeline_start(&app->lifeline, loop, on_orphaned, app, err);
    if (rc_signals < 0 || rc < 0) {
        return rc_signals < 0 ? rc_signals : rc;
    }
    app->proxy_started = true;
    rc = proxy_start(&app->proxy, loop, config, on_ready, app, err);
    if (rc == 0) {
        app->admin_started = true;
        rc = admin_start(&app->admin, loop, &app->proxy, config->admin_listen, err);
        rc = rc < 0 ? error_prefix(err, rc, "LULL_ADMIN_LISTEN") : 0;
    }
    return rc;
}
