// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Intrusive doubly linked list. A head and a node are the same struct; the node lies inside the
 * caller's struct. Owns nothing. A node that is on no list points at itself (list_init), so
 * list_remove is idempotent. A zeroed node is not a valid node: init it first.
 *
 *     struct job { struct list link; … };
 *     list_push_back(&queue, &job->link);
 *     list_foreach(node, &queue) { struct job *j = LIST_ENTRY(node, struct job, link); … }
 */

#include "base/attr.h"

struct list {
    struct list *prev;
    struct list *next;
};

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

/* Walk; the body must not remove the current node. */
#define list_foreach(node, head) \
    for (struct list *node = (head)->next; node != (head); node = node->next)

/* Walk; the body may remove the current node, and only that one. */
#define list_foreach_safe(node, head)                                                 \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *node)
{
    node->prev = node;
    node->next = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* Whether the node is on a list. */
static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_before(head->next, node);
}

/* Fine for a node that is on no list. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* NULL when empty. */
static inline struct list *list_first(const struct list *head)
{
    return head->next == head ? NULL : head->next;
}

/* NULL when empty. */
static inline struct list *list_last(const struct list *head)
{
    return head->prev == head ? NULL : head->prev;
}

/* Takes the first node off; NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = list_first(head);
    if (node != NULL) {
        list_remove(node);
    }
    return node;
}

/* Moves all nodes of `from` to the end of `to`; `from` is empty then. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (!list_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        list_init(from);
    }
}
