// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the API server is and how we prove who we are: a kubeconfig file or the credentials that a
 * pod gets. Reads files: for start-up only.
 * Owns: its strings. May not: talk to the network.
 */

#include "base/error.h"

struct kube_config {
    char *server;          /* "https://127.0.0.1:8070", without a trailing slash */
    char *ca_pem;          /* NULL: the system's */
    char *client_cert_pem; /* NULL: none */
    char *client_key_pem;
    char *token;      /* NULL: none */
    char *token_file; /* read again while running, because it rotates; NULL: none */
    char *ns;         /* the namespace to use when none is given; never NULL after a load */
    bool insecure;    /* insecure-skip-tls-verify */
};

/*
 * One kubeconfig file; context NULL means its current-context. Understands clusters (server,
 * certificate-authority, certificate-authority-data, insecure-skip-tls-verify) and users (token,
 * tokenFile, client-certificate, client-key, each also with -data). A user that needs a helper
 * program (exec, auth-provider) is ERR_UNSUPPORTED. Relative paths are relative to the file.
 */
MUST_CHECK int kube_config_load_file(const char *path, const char *context, struct kube_config *out,
                                     struct error *err);
/* The service account of this pod; ERR_NOT_FOUND when this is no pod. */
MUST_CHECK int kube_config_load_in_cluster(struct kube_config *out, struct error *err);
/*
 * The order that every part uses: path when not NULL and not empty, else $KUBECONFIG (the first
 * file of the list that exists), else the pod's service account, else ~/.kube/config. The error
 * names all that was tried.
 */
MUST_CHECK int kube_config_load(const char *path, struct kube_config *out, struct error *err);
/* A zeroed struct is fine. */
void kube_config_fini(struct kube_config *config);
