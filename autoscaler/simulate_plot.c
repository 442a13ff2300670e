// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Two panels side by side: what each setting costs and gives, as points; and for which share
 * of the functions cold starts stay below which share of their requests, as lines. Numbers are
 * written with one decimal, names are escaped. Failure modes: none; no settings give empty panels.
 */
#include "autoscaler/simulate.h"

#define WIDTH   960
#define HEIGHT  460
#define PANEL_W 360.0
#define PANEL_H 320.0
#define TOP     60.0
#define STEPS   100

static const char *const colours[] = {"#1f77b4", "#d62728", "#2ca02c", "#ff7f0e",
                                      "#9467bd", "#8c564b", "#17becf", "#7f7f7f"};

static const char *colour(size_t i)
{
    return colours[i % ARRAY_LEN(colours)];
}

static void escape(struct strbuf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            strbuf_append_str(out, "&lt;");
            break;
        case '>':
            strbuf_append_str(out, "&gt;");
            break;
        case '&':
            strbuf_append_str(out, "&amp;");
            break;
        default:
            strbuf_append_char(out, (unsigned char)*text < ' ' ? ' ' : *text);
        }
    }
}

static void label(struct strbuf *out, double x, double y, const char *anchor, const char *text)
{
    strbuf_appendf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    escape(out, text);
    strbuf_append_str(out, "</text>\n");
}

/* A frame with five marks on each axis. */
static void frame(struct strbuf *out, double left, const char *title, const char *across,
                  const char *up, double most_x, double most_y, const char *unit_y)
{
    char text[48];
    strbuf_appendf(out,
                   "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
                   "stroke=\"#333\"/>\n",
                   left, TOP, PANEL_W, PANEL_H);
    label(out, left, TOP - 30, "start", title);
    label(out, left, TOP - 12, "start", up);
    label(out, left + PANEL_W, TOP + PANEL_H + 36, "end", across);
    for (int i = 0; i <= 4; i++) {
        double x = left + PANEL_W * i / 4;
        double y = TOP + PANEL_H - PANEL_H * i / 4;
        strbuf_appendf(out, "<path d=\"M%.1f %.1fH%.1fM%.1f %.1fV%.1f\" stroke=\"#ddd\"/>\n", left,
                       y, left + PANEL_W, x, TOP, TOP + PANEL_H);
        snprintf(text, sizeof(text), "%.3g", most_x * i / 4);
        label(out, x, TOP + PANEL_H + 16, "middle", text);
        snprintf(text, sizeof(text), "%.3g%s", most_y * i / 4, unit_y);
        label(out, left - 6, y + 4, "end", text);
    }
}

static double cold_percent(const struct sim_result *r)
{
    return r->invocations == 0 ? 0 : 100.0 * (double)r->cold / (double)r->invocations;
}

static void points(const struct sim_outcome *o, struct strbuf *out)
{
    const double left = 70;
    double most_x = 1e-9;
    double most_y = 1e-9;
    for (size_t i = 0; i < o->count; i++) {
        double hours = (double)o->rows[i].result->replica_us / 3600e6;
        double cold = cold_percent(o->rows[i].result);
        most_x = hours * 1.1 > most_x ? hours * 1.1 : most_x;
        most_y = cold * 1.1 > most_y ? cold * 1.1 : most_y;
    }
    frame(out, left, "Cost and gain", "replica hours", "cold starts of all requests", most_x,
          most_y, "%");
    for (size_t i = 0; i < o->count; i++) {
        double hours = (double)o->rows[i].result->replica_us / 3600e6;
        strbuf_appendf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"/>\n",
                       left + PANEL_W * hours / most_x,
                       TOP + PANEL_H - PANEL_H * cold_percent(o->rows[i].result) / most_y,
                       colour(i));
    }
}

static void lines(const struct sim_outcome *o, struct strbuf *out)
{
    const double left = 530;
    frame(out, left, "Functions", "share of functions, %", "cold starts of a function's requests",
          100, 100, "%");
    for (size_t i = 0; i < o->count; i++) {
        strbuf_appendf(out, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"",
                       colour(i));
        for (int step = 0; step <= STEPS; step++) {
            double share = (double)step / STEPS;
            strbuf_appendf(out, "%s%.1f,%.1f", step > 0 ? " " : "", left + PANEL_W * share,
                           TOP + PANEL_H - PANEL_H * sim_cold_quantile(o, &o->rows[i], share));
        }
        strbuf_append_str(out, "\"/>\n");
    }
}

void sim_write_svg(const struct sim_outcome *o, struct strbuf *out)
{
    int height = HEIGHT + 20 * (int)((o->count + 3) / 4);
    strbuf_appendf(out,
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                   "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
                   "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                   WIDTH, height, WIDTH, height);
    points(o, out);
    lines(o, out);
    for (size_t i = 0; i < o->count; i++) {
        double x = 70 + 215 * (double)(i % 4);
        double y = HEIGHT - 10 + 20 * (double)(i / 4);
        strbuf_appendf(out,
                       "<rect x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" fill=\"%s\"/>\n", x,
                       y - 10, colour(i));
        label(out, x + 16, y, "start", o->rows[i].setting->name);
    }
    strbuf_append_str(out, "</svg>\n");
}
