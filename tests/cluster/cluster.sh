#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cluster.sh - a real single-node Kubernetes for the tests, without any image
# registry, container engine or systemd: Debian packages and Go modules only.
#
#   cluster.sh check           say why a cluster cannot run here (exit 77), or nothing (exit 0)
#   cluster.sh build           install missing packages, build the Go binaries and images (idempotent)
#   cluster.sh up [cp|node]    start: control plane only (cp), or with a real node (node, the default)
#   cluster.sh status          processes, memory, nodes, pods
#   cluster.sh kubectl ARGS    kubectl as admin
#   cluster.sh exec CMD...     run CMD in the cluster's network namespace (ClusterIPs and pod IPs reachable)
#   cluster.sh helm ARGS       helm, built when it is not there yet (any command of it; needs no cluster)
#   cluster.sh image NAME TAR-OR-BINARY   import an image tar, or wrap one static binary as image NAME
#   cluster.sh registry        the address at which the node asks a registry, without TLS; a test may start one there
#   cluster.sh kill NAME       kill -9 one server (see status); up brings it back
#   cluster.sh down            stop everything, remove namespaces, mounts, cgroups and cluster data (keeps bin, images)
#   cluster.sh purge           down + remove the whole state directory
#
# The whole "node" lives in its own network + mount + pid + uts namespaces, held
# by one process (a pause binary that is pid 1 there): killing that one process
# ends every server, shim and container, and its mounts, interfaces, iptables
# rules go with the namespaces. Nothing listens in the caller's network
# namespace except 127.0.0.1:$KUBE_PORT (a relay to the API server).
set -euo pipefail

KUBE_DIR=${KUBE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/lull-kube}   # everything lives here; keep the path short (60 characters: unix sockets)
KUBE_NAME=${KUBE_NAME:-lull0}                    # netns / node / cgroup name
KUBE_PORT=${KUBE_PORT:-16543}                    # API server on the caller's loopback
KUBE_VERSION=${KUBE_VERSION:-v1.34.4}            # k8s.io/kubernetes
STAGING_VERSION=v0.${KUBE_VERSION#v1.}
KUBE_ETCD=${KUBE_ETCD:-v3.6.4}                   # go.etcd.io/etcd/server/v3; "apt" = Debian's etcd-server 3.4
KUBE_HELM=${KUBE_HELM:-v3.22.0}                  # helm.sh/helm/v3
KUBE_COREDNS=${KUBE_COREDNS:-v1.13.1}            # built and run for cluster DNS; none = go without
OCI_RUNTIME=${OCI_RUNTIME:-crun}                 # crun | runc (both work; see holder.sh about cgroup2)
PROXY_MODE=${PROXY_MODE:-iptables}               # iptables | nftables
NICE=${NICE:-nice -n 10}
POD_CIDR=10.244.0.0/16 POD_SUBNET=10.244.0.0/24 SVC_CIDR=10.96.0.0/16 NODE_IP=10.243.0.1
DNS_IP=10.96.0.10 API_SVC_IP=10.96.0.1
REGISTRY=$NODE_IP:5000
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SRC=${KUBE_SRC:-$HERE/src}

D=$KUBE_DIR BIN=$KUBE_DIR/bin RUN=$KUBE_DIR/run LOG=$KUBE_DIR/log PKI=$KUBE_DIR/pki ETC=$KUBE_DIR/etc DATA=$KUBE_DIR/data IMG=$KUBE_DIR/images
CRI=$RUN/containerd.sock
export PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin

say() { printf '%(%H:%M:%S)T %s\n' -1 "$*" >&2; }
die() { say "ERROR: $*"; exit 1; }
now() { local t=$EPOCHREALTIME; echo $(( ${t/[.,]/} / 1000 )); }   # ms

# ---------------------------------------------------------------- build
APT_PKGS="containerd crun runc iptables nftables ipset conntrack containernetworking-plugins ethtool iproute2 util-linux openssl curl socat gcc libc6-dev"
apt_install() {
  local p miss=""
  [ "$KUBE_ETCD" = apt ] && APT_PKGS="$APT_PKGS etcd-server"
  for p in $APT_PKGS; do dpkg-query -W -f='${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || miss="$miss $p"; done
  [ -z "$miss" ] && return 0
  say "apt-get install$miss"
  # no service of theirs may start: policy-rc.d 101 for the duration of the install
  local prc=/usr/sbin/policy-rc.d made=0
  if [ ! -e $prc ]; then printf '#!/bin/sh\nexit 101\n' >$prc; chmod 755 $prc; made=1; fi
  { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $miss >"$LOG/apt.log" 2>&1 ||
    { apt-get update >>"$LOG/apt.log" 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $miss >>"$LOG/apt.log" 2>&1; }; } || { [ $made = 1 ] && rm -f $prc; die "apt: see $LOG/apt.log"; }
  [ $made = 1 ] && rm -f $prc; return 0
}

# can_run: prints the first thing that is missing for a cluster here
can_run() {
  local v
  [ "$(uname -sm)" = "Linux x86_64" ] || { echo "the cluster runs on Linux x86_64 only"; return 1; }
  [ "$(id -u)" = 0 ] || { echo "root is needed to start a node"; return 1; }
  command -v apt-get >/dev/null || { echo "apt-get is needed (Debian 12)"; return 1; }
  command -v go >/dev/null || { echo "Go 1.24 or newer is needed to build Kubernetes, and there is no go in PATH"; return 1; }
  v=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null); v=${v#go}
  if [ "$(printf '%s\n' 1.24 "$v" | sort -V | head -n 1)" != 1.24 ]; then echo "Go 1.24 or newer is needed to build Kubernetes; found ${v:-none}"; return 1; fi
  grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || { echo "the kernel has no overlayfs"; return 1; }
  unshare --net --mount --pid --uts --fork true 2>/dev/null || { echo "network, mount and pid namespaces are not allowed here"; return 1; }
  ! command -v ip >/dev/null || unshare --net sh -c 'ip link add b0 type bridge && ip link add v0 type veth peer name v1' 2>/dev/null || { echo "the kernel has no bridge or veth devices"; return 1; }
  [ -n "$(cgroup_roots)" ] || { echo "no cgroup hierarchy is mounted at /sys/fs/cgroup"; return 1; }
}

KCMDS="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl"
go_mod() { # writes $D/gomod/go.mod: one module whose tools are the Kubernetes commands
  local m=$D/gomod gm; mkdir -p "$m"; cd "$m"
  gm=$(go mod download -json "k8s.io/kubernetes@$KUBE_VERSION" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
  [ -f "$gm" ] || die "no go.mod of k8s.io/kubernetes@$KUBE_VERSION"
  {
    echo "module kubebin"; echo
    sed -n '/^go [0-9]/p' "$gm"; echo
    sed -n '/^godebug /p' "$gm"; echo
    echo "tool ("; for c in $KCMDS; do echo "	k8s.io/kubernetes/cmd/$c"; done
    [ "$KUBE_ETCD" = apt ] || echo "	go.etcd.io/etcd/server/v3"
    echo ")"; echo
    echo "require k8s.io/kubernetes $KUBE_VERSION"
    [ "$KUBE_ETCD" = apt ] || echo "require go.etcd.io/etcd/server/v3 $KUBE_ETCD"
    echo; echo "replace ("
    sed -n 's#^\t\(k8s.io/[a-z0-9-]*\) => ./staging/.*#\t\1 => \1 '"$STAGING_VERSION"'#p' "$gm"
    echo ")"
  } >go.mod.new
  if ! cmp -s go.mod.new go.mod.base; then
    cp go.mod.new go.mod; mv go.mod.new go.mod.base
    GOFLAGS="-buildvcs=false -mod=mod" go list -deps tool >deps.txt 2>"$LOG/gomod.log" || die "go list: $LOG/gomod.log"   # resolves, downloads, writes go.sum
  fi
}
build() {
  mkdir -p "$D" "$BIN" "$LOG" "$IMG" "$D/gomod"
  local t0=$SECONDS; apt_install; say "apt: $((SECONDS-t0))s"
  local want="$KUBE_VERSION $KUBE_ETCD $(go version | cut -d' ' -f3)"
  if [ "$(cat "$BIN/.stamp" 2>/dev/null)" != "$want" ]; then
    t0=$SECONDS; go_mod; say "go.mod + module download: $((SECONDS-t0))s"
    local ld="-s -w" p c pk="" major minor
    major=1 minor=${KUBE_VERSION#v1.}; minor=${minor%%.*}
    for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
      ld="$ld -X $p.gitVersion=$KUBE_VERSION -X $p.gitMajor=$major -X $p.gitMinor=$minor -X $p.gitTreeState=clean -X $p.buildDate=1970-01-01T00:00:00Z"
    done
    cd "$D/gomod"; t0=$SECONDS
    for c in $KCMDS; do pk="$pk k8s.io/kubernetes/cmd/$c"; done
    GOFLAGS=-buildvcs=false CGO_ENABLED=0 $NICE go build -mod=readonly -trimpath -ldflags "$ld" -o "$BIN/" $pk 2>"$LOG/build.log" || die "go build: $LOG/build.log"
    say "go build kubernetes: $((SECONDS-t0))s"
    if [ "$KUBE_ETCD" != apt ]; then
      t0=$SECONDS
      GOFLAGS=-buildvcs=false CGO_ENABLED=0 $NICE go build -mod=readonly -trimpath -ldflags "-s -w" -o "$BIN/etcd" go.etcd.io/etcd/server/v3 2>>"$LOG/build.log" || die "go build etcd: $LOG/build.log"
      say "go build etcd: $((SECONDS-t0))s"
    fi
    echo "$want" >"$BIN/.stamp"
  fi
  if [ "$KUBE_COREDNS" != none ] && [ "$(cat "$BIN/.stamp-coredns" 2>/dev/null)" != "$KUBE_COREDNS $want" ]; then
    t0=$SECONDS; build_coredns; say "go build coredns: $((SECONDS-t0))s"
    rm -f "$IMG/coredns.tar"; echo "$KUBE_COREDNS $want" >"$BIN/.stamp-coredns"
  fi
  [ -x "$BIN/pause" ] || gcc -static -Os -s -o "$BIN/pause" "$SRC/pause/pause.c"
  [ -f "$IMG/pause.tar" ] || mkimage local/pause:1 "$BIN/pause" "$IMG/pause.tar"
  if [ "$KUBE_COREDNS" != none ] && [ ! -f "$IMG/coredns.tar" ]; then mkimage local/coredns:1 "$BIN/coredns" "$IMG/coredns.tar"; fi
}
build_coredns() { # the DNS server with only the plugins a cluster needs, in a module of its own, on the same k8s.io versions
  local m=$D/gocoredns p; mkdir -p "$m"; cp "$SRC/coredns/main.go" "$m/"; cd "$m"
  if [ "$(cat .version 2>/dev/null)" != "$KUBE_COREDNS $STAGING_VERSION" ]; then
    { printf 'module corednsbin\n\ngo 1.24.0\n\nrequire (\n\tgithub.com/coredns/coredns %s\n' "$KUBE_COREDNS"
      for p in api apimachinery client-go; do printf '\tk8s.io/%s %s\n' "$p" "$STAGING_VERSION"; done; echo ")"; } >go.mod
    rm -f go.sum
    GOFLAGS="-buildvcs=false -mod=mod" go list -deps . >deps.txt 2>"$LOG/gocoredns.log" || die "go list coredns: $LOG/gocoredns.log"
    echo "$KUBE_COREDNS $STAGING_VERSION" >.version
  fi
  GOFLAGS=-buildvcs=false CGO_ENABLED=0 $NICE go build -mod=readonly -trimpath -ldflags "-s -w" -o "$BIN/coredns" . 2>>"$LOG/build.log" || die "go build coredns: $LOG/build.log"
}
build_helm() { # helm has requirements of its own, so it is no tool of the module of the others
  local want t0=$SECONDS; want="$KUBE_HELM $(go version | cut -d' ' -f3)"
  [ "$(cat "$BIN/.stamp-helm" 2>/dev/null)" != "$want" ] || return 0
  mkdir -p "$BIN" "$LOG"
  GOBIN=$BIN GOFLAGS=-buildvcs=false CGO_ENABLED=0 $NICE go install -trimpath -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@$KUBE_HELM" 2>"$LOG/helm.log" || die "go install helm: $LOG/helm.log"
  echo "$want" >"$BIN/.stamp-helm"
  say "go install helm: $((SECONDS-t0))s"
}

mkimage() { # mkimage NAME:TAG STATIC-BINARY OUT.tar  - a one-layer image in docker-archive format
  local name=$1 binf=$2 out=$3 t id diff b; t=$(mktemp -d); b=/$(basename "$binf")
  mkdir -p "$t/root/tmp" "$t/img"; chmod 1777 "$t/root/tmp"; install -m 755 "$binf" "$t/root$b"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$t/root" -cf "$t/img/layer.tar" .
  diff=$(sha256sum "$t/img/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Entrypoint":["%s"],"User":"65534:65534","Env":["PATH=/"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"mkimage"}]}' "$b" "$diff" >"$t/config.json"
  id=$(sha256sum "$t/config.json" | cut -d' ' -f1); mv "$t/config.json" "$t/img/$id.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$id" "$name" >"$t/img/manifest.json"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$t/img" -cf "$out" manifest.json "$id.json" layer.tar
  rm -rf "$t"
}

# ---------------------------------------------------------------- pki + config
cert() { # cert NAME CN O [SAN]
  local n=$PKI/$1; [ -f "$n.crt" ] && return 0
  openssl ecparam -name prime256v1 -genkey -noout -out "$n.key" 2>/dev/null
  local subj="/CN=$2"; [ -n "$3" ] && subj="/O=$3$subj"
  openssl req -new -key "$n.key" -subj "$subj" -out "$n.csr"
  { echo "basicConstraints=CA:FALSE"; echo "keyUsage=critical,digitalSignature"; echo "extendedKeyUsage=clientAuth,serverAuth"; [ -n "${4:-}" ] && echo "subjectAltName=$4"; } >"$n.ext"
  openssl x509 -req -in "$n.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 3650 -extfile "$n.ext" -out "$n.crt" 2>/dev/null
  rm -f "$n.csr" "$n.ext"
}
kubeconfig() { # kubeconfig FILE CERTNAME SERVER
  local c=$PKI/$2
  cat >"$1" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: "$3", certificate-authority: $PKI/ca.crt}}]
users: [{name: u, user: {client-certificate: $c.crt, client-key: $c.key}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
current-context: c
EOF
}
pki() {
  mkdir -p "$PKI" "$ETC"; chmod 700 "$PKI"
  if [ ! -f "$PKI/ca.crt" ]; then
    openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/ca.key" 2>/dev/null
    openssl req -x509 -new -key "$PKI/ca.key" -subj /CN=kube-ca -days 3650 -out "$PKI/ca.crt" \
      -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  fi
  [ -f "$PKI/sa.key" ] || { openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null; openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub" 2>/dev/null; }
  cert apiserver kube-apiserver "" "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$API_SVC_IP,IP:$NODE_IP"
  cert apiserver-kubelet kube-apiserver-kubelet-client system:masters
  cert front-proxy front-proxy-client ""
  cert admin kubernetes-admin system:masters
  cert kcm system:kube-controller-manager ""
  cert scheduler system:kube-scheduler ""
  cert proxy system:kube-proxy ""
  cert "kubelet-$KUBE_NAME" "system:node:$KUBE_NAME" system:nodes "DNS:$KUBE_NAME,IP:$NODE_IP,IP:127.0.0.1"
  local in=https://127.0.0.1:6443 n
  for n in admin kcm scheduler proxy; do kubeconfig "$ETC/$n.conf" $n $in; done
  kubeconfig "$ETC/kubelet.conf" "kubelet-$KUBE_NAME" $in
  kubeconfig "$D/kubeconfig" admin "https://127.0.0.1:$KUBE_PORT"
}

# ---------------------------------------------------------------- namespaces
holder() { # prints the host pid of the node's pid 1, if it lives and is ours
  local p; p=$(cat "$RUN/holder.pid" 2>/dev/null) || return 1
  [ -n "$p" ] && [ "$(readlink "/proc/$p/exe" 2>/dev/null)" = "$(readlink -f "$BIN/pause")" ] && echo "$p"
}
ours() { [ -e "/run/netns/$KUBE_NAME" ] && [ "$(stat -c %i "/run/netns/$KUBE_NAME")" = "$(cat "$D/.netns" 2>/dev/null)" ]; }   # made by this state directory
inns() { nsenter -t "$HP" -m -n -p -u -- "$@"; }
start_holder() {
  HP=$(holder) && return 0
  mkdir -p "$RUN" "$LOG" "$DATA" "$ETC"
  if [ -e "/run/netns/$KUBE_NAME" ]; then ours || die "network namespace $KUBE_NAME exists and is not of $D: set KUBE_NAME"
  else ip netns add "$KUBE_NAME"; stat -c %i "/run/netns/$KUBE_NAME" >"$D/.netns"; fi
  mkdir -p /run/containerd /var/lib/cni /var/lib/kubelet /var/log/containers /var/log/pods   # mount points only
  cat >"$ETC/holder.sh" <<EOF
set -e
mount --make-rprivate /
mount -t proc proc /proc
hostname $KUBE_NAME
for d in run/containerd var/lib/cni var/lib/kubelet var/log/containers var/log/pods; do
  mkdir -p $DATA/\$d; mount --bind $DATA/\$d /\$d
done
# crun refuses a v1 host that also has a cgroup2 mount with controllers: hide it here
[ "\$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || umount /sys/fs/cgroup/unified 2>/dev/null || true
# kubelet writes these host-wide sysctls: give it files of its own instead
for k in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  f=$DATA/sysctl/\$k; mkdir -p \$(dirname \$f); cat /proc/sys/\$k >\$f; mount --bind \$f /proc/sys/\$k
done
mount --make-rshared /
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true
ip link set lo up
ip link show node0 >/dev/null 2>&1 || { ip link add node0 type bridge; ip addr add $NODE_IP/24 dev node0; ip link set node0 up; }
# a default route keeps programs that look one up happy; it leads nowhere (no port on the bridge)
ip route replace default via ${NODE_IP%.*}.254 dev node0
: >$RUN/holder.ready
exec $BIN/pause
EOF
  rm -f "$RUN/holder.ready"
  setsid nsenter --net="/run/netns/$KUBE_NAME" unshare --fork --kill-child --pid --mount --uts --propagation private \
    /bin/sh "$ETC/holder.sh" </dev/null >"$LOG/holder.log" 2>&1 &
  local u=$! i
  for i in $(seq 100); do [ -f "$RUN/holder.ready" ] && break; sleep 0.05; done
  [ -f "$RUN/holder.ready" ] || die "namespace holder did not start: $(cat "$LOG/holder.log")"
  echo "$u" >"$RUN/unshare.pid"
  for i in $(seq 100); do
    pgrep -P "$u" >"$RUN/holder.pid" || true
    HP=$(holder) && return 0; sleep 0.02
  done
  die "no holder process"
}
spawn() { # spawn NAME CMD...  - in the node's namespaces, child of its pid 1; records the pid in that pid namespace
  local name=$1; shift
  alive "$name" && return 0
  inns /bin/sh -c 'n=$1; shift; cd /; "$@" >>'"$LOG"'/$n.log 2>&1 </dev/null & echo $! >'"$RUN"'/$n.pid' sh "$name" "$@"
}
alive() { local p; p=$(cat "$RUN/$1.pid" 2>/dev/null) || return 1; inns /bin/kill -0 "$p" 2>/dev/null; }
await() { # await SECONDS WHAT CMD...
  local end=$((SECONDS+$1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ -z "${PROC:-}" ] || alive "$PROC" || die "$what ended: $(tail -n 3 "$LOG/$PROC.log")"
    [ $SECONDS -lt $end ] || die "$what: not ready in time; logs in $LOG"
    sleep 0.1
  done
}
K() { inns "$BIN/kubectl" --kubeconfig "$ETC/admin.conf" "$@"; }
# cheap readiness checks with curl (a kubectl call costs about 100 ms of CPU)
api() { inns curl -sf --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" "https://127.0.0.1:6443$1"; }

# ---------------------------------------------------------------- servers
up_cp() {
  local t0; t0=$(now)
  local etcd=$BIN/etcd extra="--unsafe-no-fsync"
  [ "$KUBE_ETCD" = apt ] && { etcd=/usr/bin/etcd; extra=""; }
  mkdir -p "$DATA/etcd"; chmod 700 "$DATA/etcd"
  spawn etcd "$etcd" --name=e0 --data-dir="$DATA/etcd" $extra \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=e0=http://127.0.0.1:2380 --auto-compaction-retention=1
  PROC=etcd await 60 etcd inns curl -sf http://127.0.0.1:2379/health
  say "etcd healthy after $(( $(now)-t0 )) ms"
  spawn apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address=$NODE_IP \
    --service-cluster-ip-range=$SVC_CIDR --allow-privileged=true --profiling=false \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" --enable-aggregator-routing=true
  # /readyz only after the RBAC bootstrap hook: a controller manager started before it exits with "forbidden"
  PROC=apiserver await 120 kube-apiserver api /readyz
  say "kube-apiserver ready after $(( $(now)-t0 )) ms"
  # The one node is not called dead after an outage of the API server: its Services would have no endpoints then.
  spawn kcm "$BIN/kube-controller-manager" --node-monitor-grace-period=10m --kubeconfig="$ETC/kcm.conf" --authentication-kubeconfig="$ETC/kcm.conf" --authorization-kubeconfig="$ETC/kcm.conf" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true --profiling=false \
    --kube-api-qps=300 --kube-api-burst=600 \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --allocate-node-cidrs=true --cluster-cidr=$POD_CIDR --service-cluster-ip-range=$SVC_CIDR --flex-volume-plugin-dir="$DATA/volumeplugins"
  spawn scheduler "$BIN/kube-scheduler" --kubeconfig="$ETC/scheduler.conf" --authentication-kubeconfig="$ETC/scheduler.conf" --authorization-kubeconfig="$ETC/scheduler.conf" \
    --bind-address=127.0.0.1 --leader-elect=false --profiling=false
  PROC=kcm await 60 kube-controller-manager inns curl -skf https://127.0.0.1:10257/healthz
  PROC=scheduler await 60 kube-scheduler inns curl -skf https://127.0.0.1:10259/healthz
  await 60 "default service account" api /api/v1/namespaces/default/serviceaccounts/default
  say "control plane complete after $(( $(now)-t0 )) ms"
  # relay: caller's loopback -> unix socket -> API server in the namespace
  if ! kill -0 "$(cat "$RUN/relay.hostpid" 2>/dev/null || echo 0)" 2>/dev/null || [ ! -f "$RUN/relay.hostpid" ]; then
    rm -f "$RUN/api.sock"
    spawn relay-in socat "UNIX-LISTEN:$RUN/api.sock,fork" TCP:127.0.0.1:6443
    setsid socat "TCP-LISTEN:$KUBE_PORT,bind=127.0.0.1,reuseaddr,fork" "UNIX-CONNECT:$RUN/api.sock" </dev/null >"$LOG/relay.log" 2>&1 &
    echo $! >"$RUN/relay.hostpid"
  fi
}

node_config() {
  local rt; rt=$(command -v "$OCI_RUNTIME")
  mkdir -p "$ETC/cni" "$RUN"
  cat >"$ETC/containerd.toml" <<EOF
version = 2
root = "$DATA/containerd"
state = "$RUN/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.native"]
[grpc]
  address = "$CRI"
[plugins."io.containerd.internal.v1.opt"]
  path = "$DATA/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$ETC/certs.d"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$ETC/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "oci"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oci]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oci.options]
        BinaryName = "$rt"
        SystemdCgroup = false
EOF
  mkdir -p "$ETC/certs.d/$REGISTRY"
  printf '[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$REGISTRY" >"$ETC/certs.d/$REGISTRY/hosts.toml"
  cat >"$ETC/cni/10-bridge.conflist" <<EOF
{"cniVersion": "1.0.0", "name": "kube", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$DATA/ipam", "ranges": [[{"subnet": "$POD_SUBNET"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
EOF
  : >"$ETC/resolv.conf"
  cat >"$ETC/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$CRI
address: 0.0.0.0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-$KUBE_NAME.crt
tlsPrivateKeyFile: $PKI/kubelet-$KUBE_NAME.key
cgroupDriver: cgroupfs
cgroupRoot: /$KUBE_NAME
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: [$DNS_IP]
resolvConf: $ETC/resolv.conf
podLogsDir: /var/log/pods
volumePluginDir: $DATA/volumeplugins
# images cannot be pulled again: never collect them, and do not evict on a machine whose disk others fill
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
nodeStatusUpdateFrequency: 10s
shutdownGracePeriod: 0s
enableServer: true
EOF
  cat >"$ETC/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $ETC/proxy.conf}
mode: $PROXY_MODE
clusterCIDR: $POD_CIDR
hostnameOverride: $KUBE_NAME
oomScoreAdj: 0
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
# conntrack sizes are host-wide (read-only in a network namespace): leave them alone
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: ${PROXY_MIN_SYNC:-100ms}}
nftables: {minSyncPeriod: ${PROXY_MIN_SYNC:-100ms}}
EOF
}
cgroup_roots() { # every v1 hierarchy, named systemd too (kubelet wants its cgroupRoot in all), or the v2 root
  awk '$3=="cgroup" || ($3=="cgroup2" && $2=="/sys/fs/cgroup") {print $2}' /proc/mounts
}
make_cgroups() {
  local r
  for r in $(cgroup_roots); do
    mkdir -p "$r/$KUBE_NAME"
    if [ -f "$r/cpuset.cpus" ]; then   # v1 cpuset: a new group starts with empty cpus and mems
      cat "$r/cpuset.cpus" >"$r/$KUBE_NAME/cpuset.cpus"; cat "$r/cpuset.mems" >"$r/$KUBE_NAME/cpuset.mems"
    fi
  done
}
rm_cgroups() {
  local r d i
  for r in $(awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts); do
    [ -d "$r/$KUBE_NAME" ] || continue
    for i in 1 2 3 4 5; do
      find "$r/$KUBE_NAME" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      [ -d "$r/$KUBE_NAME" ] || break; sleep 0.2
    done
    [ -d "$r/$KUBE_NAME" ] && say "left over: $r/$KUBE_NAME" || true
  done
}
start_runtime() { # before the control plane: it starts while the API server does
  alive kubelet || node_config
  make_cgroups
  spawn containerd /usr/bin/containerd --config "$ETC/containerd.toml"
}
node_ready() { api "/api/v1/nodes/$KUBE_NAME" | grep -A1 -E '"(reason|type)": "(KubeletReady|Ready)"' | grep -q KubeletReady; }
up_node() {
  local t0 t; t0=$(now)
  PROC=containerd await 30 containerd test -S "$CRI"
  await 30 containerd ctr -a "$CRI" version
  say "containerd answers after $(( $(now)-t0 )) ms"
  mkdir -p "$DATA/imported"
  for t in "$IMG"/*.tar; do
    [ "$DATA/imported/${t##*/}" -nt "$t" ] || { import "$t"; touch "$DATA/imported/${t##*/}"; }
  done
  say "images imported after $(( $(now)-t0 )) ms"
  spawn kubelet "$BIN/kubelet" --config="$ETC/kubelet.yaml" --kubeconfig="$ETC/kubelet.conf" --root-dir="$DATA/kubelet" \
    --hostname-override="$KUBE_NAME" --node-ip="$NODE_IP" ${KUBELET_ARGS:-}
  spawn proxy "$BIN/kube-proxy" --config="$ETC/proxy.yaml"
  PROC=kubelet await 90 "node $KUBE_NAME" node_ready
  say "node Ready after $(( $(now)-t0 )) ms"
  PROC=proxy await 30 kube-proxy inns curl -sf http://127.0.0.1:10256/healthz
  say "kube-proxy healthy after $(( $(now)-t0 )) ms"
  if [ "$KUBE_COREDNS" != none ] && [ -f "$IMG/coredns.tar" ]; then
    sed "s/@DNS_IP@/$DNS_IP/" "$SRC/coredns/coredns.yaml" | K apply -f - >/dev/null
    await 60 coredns sh -c "$(declare -f api inns); HP=$HP PKI=$PKI; api /apis/apps/v1/namespaces/kube-system/deployments/coredns | grep -q '\"readyReplicas\": 1'"
    say "coredns ready after $(( $(now)-t0 )) ms"
  fi
}
import() { ctr -a "$CRI" -n k8s.io images import "$1" >>"$LOG/import.log" 2>&1 || die "import of $1: $LOG/import.log"; }

up() {
  local what=${1:-node} t0; t0=$(now)
  [ "$(id -u)" = 0 ] || die "root needed"
  [ "${#D}" -le 60 ] || die "KUBE_DIR too long for unix sockets"
  build
  pki
  start_holder
  [ "$what" = cp ] || start_runtime
  up_cp
  [ "$what" = cp ] || up_node
  say "up ($what) in $(( $(now)-t0 )) ms; KUBECONFIG=$D/kubeconfig; ClusterIPs: $0 exec curl ..."
}
down() {
  local p i
  p=$(cat "$RUN/relay.hostpid" 2>/dev/null || true)
  if [ -n "$p" ] && grep -qa "$RUN/api.sock" "/proc/$p/cmdline" 2>/dev/null; then kill "$p" 2>/dev/null || true; fi
  if HP=$(holder); then
    kill -KILL "$HP" 2>/dev/null || true      # pid 1 of the node: the kernel ends everything in its pid namespace
    for i in $(seq 100); do [ -d "/proc/$HP" ] || break; sleep 0.1; done
    [ -d "/proc/$HP" ] && say "holder $HP still there" || true
  fi
  if ours; then rm_cgroups; ip netns del "$KUBE_NAME"; rm -f "$D/.netns"; fi
  # mount propagation is private, so nothing should be mounted here; never rm across a mount
  if grep -q " $D/" /proc/mounts; then
    grep " $D/" /proc/mounts | awk '{print $2}' | sort -r | xargs -r -n1 umount
  fi
  [ "${KUBE_KEEP_DATA:-0}" = 1 ] || rm -rf --one-file-system "$DATA"
  rm -rf --one-file-system "$RUN"
  say "down"
}
status() {
  if ! HP=$(holder); then echo "down"; return 3; fi
  echo "holder pid $HP, netns $KUBE_NAME, API https://127.0.0.1:$KUBE_PORT"
  local f n p
  for f in "$RUN"/*.pid; do
    n=$(basename "$f" .pid); case $n in holder|unshare) continue;; esac
    if alive "$n"; then p=$(cat "$f"); printf '%-12s up   pid %-6s rss %s MiB\n' "$n" "$p" "$(inns awk '/VmRSS/{printf "%d", $2/1024}' "/proc/$p/status")"; else printf '%-12s DOWN\n' "$n"; fi
  done
  K get nodes -o wide; K get pods -A -o wide
}

main() {
case ${1:-} in
  check) can_run || exit 77 ;;
  build) build ;;
  up) shift; up "$@" ;;
  down) down ;;
  purge) down; rm -rf --one-file-system "$D" ;;
  status) status ;;
  registry) echo "$REGISTRY" ;;
  kill) HP=$(holder) || die "down"; alive "${2:?}" || die "$2 is not up"; inns /bin/kill -9 "$(cat "$RUN/$2.pid")" ;;
  kubectl) shift; HP=$(holder) || die "down"; exec "$BIN/kubectl" --kubeconfig "$D/kubeconfig" "$@" ;;
  helm) shift; build_helm; exec "$BIN/helm" "$@" ;;
  exec) shift; HP=$(holder) || die "down"; exec nsenter --net="/run/netns/$KUBE_NAME" -- "$@" ;;
  shell) shift; HP=$(holder) || die "down"; inns "$@" ;;
  image) shift; HP=$(holder) || die "down"; if tar -tf "$2" >/dev/null 2>&1; then import "$2"; else t=$(mktemp); mkimage "$1" "$2" "$t"; import "$t"; rm -f "$t"; fi ;;
  *) sed -n '3,22p' "$0"; exit 2 ;;
esac
}
main "$@"; exit   # one line: bash must not read on if this file is edited while it runs
