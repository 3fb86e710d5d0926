#!/bin/sh
# Installs ecs-regcred on this machine from the release that this script lies in, or takes it off. Safe to run twice; a newer release over an older
# one is an upgrade, and settings stay. POSIX sh: it runs under dash and busybox.
#
# What it puts where: README "What it changes on your machine".
set -eu
umask 022
# cron and some images leave out sbin, where initctl and restorecon are.
export PATH="${PATH:+$PATH:}/usr/sbin:/usr/bin:/sbin:/bin"
# Bytes are bytes: in a UTF-8 locale, grep takes a settings file with a Latin-1 comment for a binary, and keeps its lines to itself.
export LC_ALL=C

usage() {
  cat <<'END'
sh install.sh [SETTING...] [OPTION...]       as root

  --secret-id ARN, --interval 5m, ...        any setting of the README, in kebab-case; goes into /etc/ecs-regcred/ecs-regcred.env
  --env NAME=VALUE                           a line of that file for AWS_*, *_PROXY or NODE_EXTRA_CA_CERTS; may be given again
  --timeout 60s                              how long to wait for the first credentials
  --fail-closed                              end with a failure where they did not come: for groups that replace such a node
  --no-start                                 put everything in place, ask the source nothing, start nothing: for images
  --allow-no-ecs                             the ECS agent is not installed yet
  --uninstall                                take everything off again; ecs.config stays and goes on working

DESTDIR=DIR in the environment installs into a tree (implies --no-start).
END
}

say() { echo "ecs-regcred install: $*"; }
refuse() {
  code=$1
  shift
  echo "ecs-regcred install: $*" >&2
  exit "$code"
}

# One name a line, as in src/settings.ts (a test compares them).
SETTINGS='secret-id docker-config registry username keep-newline root ecs-config state-dir interval splay min-restart-gap init ecs-service
introspection-url docker-socket verify-timeout probe probe-ca-file probe-insecure takeover metrics-file publish-version log-level'

DESTDIR=${DESTDIR-}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
base=/opt/ecs-regcred
config=$DESTDIR/etc/ecs-regcred/ecs-regcred.env
# There while the running service is older than what lies on the disk: kept in a file, because a run of this script may be cut short. A boot clears it.
owed=/var/run/ecs-regcred.restart-owed
timeout=60s
fail_closed='' no_start='' allow_no_ecs='' uninstall=''
[ -z "$DESTDIR" ] || no_start=yes

main() {
  # Options are read twice: nothing is touched before all of them are understood.
  parse "$@"
  if [ -n "$uninstall" ]; then
    take_off
    return
  fi
  check_machine
  take_turn
  # What can fail for want of space or of a kernel that runs it comes first, while everything is still as it was.
  copy_release
  write_settings "$@"
  switch_release
  install_job
  if [ -n "$no_start" ]; then
    say "release $release is in place and starts with the machine"
    return
  fi
  first_write
  start_service
  return "$outcome"
}

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --help) usage; exit 0 ;;
      --timeout)
        need_value "$@"
        case $2 in [0-9]*[smhd]) timeout=$2 ;; *) refuse 64 "--timeout $2: write a duration such as 60s" ;; esac
        shift 2
        ;;
      --env)
        need_value "$@"
        case $2 in
          AWS_*=* | HTTP_PROXY=* | HTTPS_PROXY=* | NO_PROXY=* | http_proxy=* | https_proxy=* | no_proxy=* | NODE_EXTRA_CA_CERTS=*) ;;
          *) refuse 64 "--env ${2%%=*}: write AWS_*, HTTP_PROXY, HTTPS_PROXY, NO_PROXY or NODE_EXTRA_CA_CERTS, then = and the value; settings of the service are options" ;;
        esac
        case ${2%%=*} in *[!A-Za-z0-9_]*) refuse 64 "--env ${2%%=*}: that is no name of a variable" ;; esac
        check_value "--env ${2%%=*}" "${2#*=}"
        shift 2
        ;;
      --fail-closed) fail_closed=yes; shift ;;
      --no-start) no_start=yes; shift ;;
      --allow-no-ecs) allow_no_ecs=yes; shift ;;
      --uninstall) uninstall=yes; shift ;;
      --*=*)
        option=$1
        shift
        set -- "${option%%=*}" "${option#*=}" "$@"
        ;;
      --*)
        is_setting "${1#--}" || refuse 64 "there is no option $1; sh install.sh --help lists them"
        need_value "$@"
        check_value "$1" "$2"
        # A variable that is not set, most likely, and the source would be another than the one meant.
        case $1:$2 in --secret-id: | --docker-config:) refuse 64 "$1: the value is empty" ;; esac
        eval "given_$(echo "${1#--}" | tr - _)=\$2"
        shift 2
        ;;
      *) refuse 64 "an argument could not be understood; sh install.sh --help" ;;
    esac
  done
}

need_value() { [ $# -ge 2 ] || refuse 64 "$1 needs a value"; }

# What the settings file can hold.
check_value() {
  case $2 in *'
'*) refuse 64 "$1: the value holds a line break" ;; esac
  case $2 in *\'*\"* | *\"*\'*) refuse 64 "$1: the value holds both kinds of quotes" ;; esac
}

is_setting() {
  for known in $SETTINGS; do
    [ "$known" != "$1" ] || return 0
  done
  return 1
}

check_machine() {
  # First what this machine is: on Bottlerocket and Fargate there is nothing to install to, whoever runs this.
  if grep -q '^ID=.*bottlerocket' "$DESTDIR/etc/os-release" 2>/dev/null; then
    refuse 69 'Bottlerocket has no ecs.config and no place for a service of ours; set the credentials with: apiclient set settings.container-registry.credentials (or the same in its user data)'
  fi
  if [ -z "$DESTDIR" ] && [ -n "${ECS_CONTAINER_METADATA_URI_V4-}${ECS_CONTAINER_METADATA_URI-}" ]; then
    refuse 69 'this is a task that ECS runs (on Fargate there is no machine to install on); name the secret in the task definition instead: repositoryCredentials.credentialsParameter'
  fi
  [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || refuse 77 'this needs root: sudo sh install.sh ...'
  [ -r "$here/RELEASE" ] || refuse 64 'run the install.sh of an unpacked release; in a checkout, scripts/build-release makes one'
  release=$(cat "$here/RELEASE")
  case $(cat "$here/ARCH"):$(uname -m) in
    x64:x86_64 | arm64:aarch64 | arm64:arm64) ;;
    *) [ -n "$DESTDIR" ] || refuse 69 "this release is for $(cat "$here/ARCH") and this machine is $(uname -m): take the other tarball" ;;
  esac

  ecs=$(setting ecs-service ecs)
  ecs=${ecs%.service}
  init=$(setting init auto)
  if [ "$init" = auto ]; then
    if has_unit "$ecs"; then
      init=systemd
    elif [ -f "$DESTDIR/etc/init/$ecs.conf" ]; then
      init=upstart
    elif [ -z "$allow_no_ecs" ]; then
      refuse 69 "there is no ECS agent here: no unit $ecs.service and no job /etc/init/$ecs.conf. Use an ECS-optimized image or install ecs-init first; where its name is another, add --ecs-service NAME; for an image that gets it later, --allow-no-ecs"
    elif [ -d "$DESTDIR/etc/systemd/system" ]; then
      init=systemd
    elif [ -d "$DESTDIR/etc/init" ]; then
      init=upstart
    else
      refuse 69 'this machine has neither systemd nor Upstart'
    fi
  fi
  if [ "$init" = systemd ] && [ -z "$no_start" ] && [ ! -d /run/systemd/system ]; then
    refuse 64 'systemd does not run here, as in the build of an image: add --no-start, and everything starts with the machine'
  fi
  if [ "$init" = systemd ]; then
    for option in docker-config probe-ca-file ecs-config state-dir metrics-file; do
      path=$(setting "$option" '')
      case $path in
        /tmp/* | /var/tmp/*) refuse 64 "--$option $path: the units have a /tmp of their own (PrivateTmp=yes), where the service would not find it; name another place" ;;
      esac
    done
  fi
}

# Two of them at once (user data and an association of State Manager, say) would write into each other's half.
take_turn() {
  problem=$(mkdir -p "$DESTDIR$base" 2>&1) || refuse 74 "$problem. Everything is as it was"
  command -v flock >/dev/null 2>&1 || return 0
  # Of /opt, which stays when an uninstaller goes.
  exec 9<"$DESTDIR${base%/*}"
  flock -n 9 || { say 'another install.sh is at work here; waiting for it'; flock 9; }
}

has_unit() {
  for dir in etc run usr/local/lib usr/lib lib; do
    [ ! -f "$DESTDIR/$dir/systemd/system/$1.service" ] || return 0
  done
  return 1
}

# A setting as it will be: of the options, else of the settings file, else the default given.
setting() {
  found=$2
  name=$(echo "REGCRED_$1" | tr 'a-z-' 'A-Z_')
  if [ -f "$config" ]; then
    line=$(grep "$(line_of "$name")" "$config" | tail -n 1 || true)
    [ -z "$line" ] || found=$(unquote "${line#*=}")
  fi
  eval "given=\${given_$(echo "$1" | tr - _)-}"
  echo "${given:-$found}"
}

# As the service reads that file (dotenv): `export`, blanks and a comment behind the value are allowed.
line_of() { echo "^[[:blank:]]*\(export[[:blank:]][[:blank:]]*\)\{0,1\}$1[[:blank:]]*="; }

unquote() {
  value=${1#"${1%%[![:space:]]*}"}
  case $value in
    \'*\'*) value=${value#?}; value=${value%%\'*} ;;
    \"*\"*) value=${value#?}; value=${value%%\"*} ;;
    *) value=${value%%#*}; value=${value%"${value##*[![:space:]]}"} ;;
  esac
  echo "$value"
}

# Options become lines of the settings file. Lines that are not named stay, comments too.
write_settings() {
  mkdir -p "$DESTDIR/etc/ecs-regcred"
  new=$config.new
  rm -f "$new"
  # A proxy's address may hold a password.
  (umask 077; if [ -f "$config" ]; then cat "$config"; else echo '# Settings of ecs-regcred, one NAME=VALUE a line (README "Settings"). After a change: systemctl restart ecs-regcred'; fi >"$new") ||
    give_up_settings
  while [ $# -gt 0 ]; do
    case $1 in
      --env) put "${2%%=*}" "${2#*=}"; shift 2 ;;
      --timeout) shift 2 ;;
      --fail-closed | --no-start | --allow-no-ecs) shift ;;
      --*=*)
        option=$1
        shift
        set -- "${option%%=*}" "${option#*=}" "$@"
        ;;
      *)
        # There is one source: a new one of the other kind takes the place of the old.
        case $1 in
          --secret-id) drop REGCRED_DOCKER_CONFIG ;;
          --docker-config) drop REGCRED_SECRET_ID ;;
        esac
        put "$(echo "REGCRED_${1#--}" | tr 'a-z-' 'A-Z_')" "$2"
        shift 2
        ;;
    esac
  done
  # A typing error is not to take the place of what works. `explain` is a command that reads the settings, and asks nobody.
  if [ -z "$DESTDIR" ]; then
    status=0
    "$target/bin/ecs-regcred" explain image --env-file "$new" >/dev/null 2>"$new.2" || status=$?
    if [ "$status" = 78 ]; then
      cat "$new.2" >&2
      rm -f "$new" "$new.2"
      refuse 78 'the settings are not usable (above); what was installed before is as it was'
    fi
    rm -f "$new.2"
  fi
  replace "$new" "$config"
}

drop() {
  # Not by way of a second file: one that a full disk cut short must not pass for what is left. Status 1 says that nothing is.
  kept=$(grep -v "$(line_of "$1")" "$new") || [ $? = 1 ] || give_up_settings
  printf '%s' "$kept${kept:+
}" >"$new" || give_up_settings
}

put() {
  drop "$1"
  # The quotes are for `#` and blanks, where the file is read.
  case $2 in
    *\'*) printf '%s="%s"\n' "$1" "$2" >>"$new" ;;
    *[!A-Za-z0-9_./:@%+=,-]*) printf "%s='%s'\n" "$1" "$2" >>"$new" ;;
    *) printf '%s=%s\n' "$1" "$2" >>"$new" ;;
  esac || give_up_settings
}

give_up_settings() {
  rm -f "$new"
  refuse 74 "could not write $new (above); the settings are as they were"
}

# By rename, and only where it says something new.
replace() {
  if [ -f "$2" ] && [ "$(cat "$1")" = "$(cat "$2")" ]; then
    rm -f "$1"
  else
    owe_restart
    mv -f "$1" "$2"
  fi
}

owe_restart() { [ -n "$DESTDIR" ] || : >"$owed"; }

# The release goes into a directory of its own name, whole or not at all.
copy_release() {
  target=$DESTDIR$base/$release
  now=$(readlink "$DESTDIR$base/current" 2>/dev/null || true)
  if [ ! -d "$target" ]; then
    mkdir -p "$DESTDIR$base"
    rm -rf "$target.new"
    # A disk that it filled up would be the ECS agent's as well.
    problem=$(cp -R "$here/." "$target.new" 2>&1) ||
      { rm -rf "$target.new"; refuse 74 "could not copy the release, which takes 120 MB: $(echo "$problem" | head -n 1). Everything is as it was"; }
    mkdir "$target.new/cache"
    # Labels too are there before the name is: a directory of that name is not looked into again.
    [ -n "$DESTDIR" ] || ! command -v restorecon >/dev/null 2>&1 || restorecon -RF "$target.new" || true
    # Its bytes before its name, should the power fail. Of this file system alone, where sync knows how: another may be a network's.
    sync -f "$target.new" 2>/dev/null || true
    mv "$target.new" "$target"
  fi
  [ -z "$DESTDIR" ] || return 0
  # Proves that it runs here before anything points to it, and fills the cache of compiled code, which nobody else may write.
  if ! "$target/bin/ecs-regcred" --warm-cache >/dev/null; then
    [ "$now" = "$release" ] || { rm -rf "$target"; refuse 70 "release $release does not run on this machine (above; is $base mounted noexec?); what was installed before is as it was"; }
    refuse 70 "release $release, which is installed already, does not run any more (above); where its files were damaged: rm -r $target, and run this again"
  fi
}

# `current` changes by one rename. What runs goes on in the old release.
switch_release() {
  if [ "$now" != "$release" ]; then
    # The one before stays: a service that is just stopping still runs in it, and it is the way back.
    [ -z "$now" ] || point previous "$now"
    owe_restart
    point current "$release"
  fi
  # /usr/bin, because sudo on Amazon Linux does not look into /usr/local/bin. An upgrade leaves it alone: it may be read-only.
  if [ "$(readlink "$DESTDIR/usr/bin/ecs-regcred" 2>/dev/null || true)" != "$base/current/bin/ecs-regcred" ]; then
    mkdir -p "$DESTDIR/usr/bin"
    ln -sfn "$base/current/bin/ecs-regcred" "$DESTDIR/usr/bin/ecs-regcred"
  fi
  previous=$(readlink "$DESTDIR$base/previous" 2>/dev/null || true)
  for old in "$DESTDIR$base"/*/; do
    old=${old%/}
    case ${old##*/} in
      current | previous | "$release" | "$previous" | '*') ;;
      *) rm -rf "$old" ;;
    esac
  done
}

point() {
  ln -sfn "$2" "$DESTDIR$base/$1.new"
  mv -fT "$DESTDIR$base/$1.new" "$DESTDIR$base/$1"
}

# From the installed copy: a release that was unpacked beside it, in our own directory, is gone by now.
install_job() {
  # Before the unit starts: what is missing then cannot be made writable for it.
  file=$(setting ecs-config /etc/ecs/ecs.config)
  mkdir -p "$DESTDIR${file%/*}"
  state=$DESTDIR$(setting state-dir /var/lib/ecs-regcred)
  # One that is there already may be shared with others, who would be locked out.
  [ -d "$state" ] || { mkdir -p "$(dirname "$state")"; mkdir -m 700 "$state"; }
  case $init in
    systemd)
      units=$DESTDIR/etc/systemd/system
      mkdir -p "$units/multi-user.target.wants"
      for unit in ecs-regcred.service ecs-regcred-boot.service; do
        cp "$target/systemd/$unit" "$units/$unit.new"
        replace "$units/$unit.new" "$units/$unit"
        ln -sfn "../$unit" "$units/multi-user.target.wants/$unit"
        write_dropin "$units/$unit.d"
      done
      ;;
    upstart)
      mkdir -p "$DESTDIR/etc/init" "$DESTDIR/etc/logrotate.d"
      sed "s/^start on starting ecs\$/start on starting $ecs/" "$target/upstart/ecs-regcred.conf" >"$DESTDIR/etc/init/ecs-regcred.conf.new"
      replace "$DESTDIR/etc/init/ecs-regcred.conf.new" "$DESTDIR/etc/init/ecs-regcred.conf"
      cp "$target/upstart/logrotate" "$DESTDIR/etc/logrotate.d/ecs-regcred"
      ;;
  esac
}

# What the settings change about the units: where they may write, and what the ECS agent's unit is called.
write_dropin() {
  paths=''
  file=$(setting ecs-config /etc/ecs/ecs.config)
  [ "$file" = /etc/ecs/ecs.config ] || writable "${file%/*}"
  # A link is followed, and its target lies where it lies.
  if [ -L "$DESTDIR$file" ] && [ -z "$DESTDIR" ]; then
    real=$(readlink -f "$file" || true)
    [ -z "$real" ] || writable "${real%/*}"
  fi
  dir=$(setting state-dir /var/lib/ecs-regcred)
  [ "$dir" = /var/lib/ecs-regcred ] || writable "$dir"
  file=$(setting metrics-file '')
  [ -z "$file" ] || writable "${file%/*}"

  mkdir -p "$1"
  {
    echo '# Written by install.sh from the settings; your own changes belong into another file of this directory.'
    if [ "$ecs" != ecs ]; then
      case $1 in *-boot.service.d) printf '[Unit]\nBefore=%s.service\n' "$ecs" ;; esac
    fi
    [ -z "$paths" ] || printf '[Service]\nReadWriteDirectories=%s\n' "${paths# }"
  } >"$1/10-install.conf.new"
  if [ "$(wc -l <"$1/10-install.conf.new")" -gt 1 ]; then
    replace "$1/10-install.conf.new" "$1/10-install.conf"
  else
    rm -f "$1/10-install.conf.new" "$1/10-install.conf"
    rmdir "$1" 2>/dev/null || true
  fi
}

writable() {
  case $1 in
    *[[:blank:]]*) paths="$paths \"-$1\"" ;;
    *) paths="$paths -$1" ;;
  esac
}

# In user data this is what the ECS agent's first start finds. On a machine where it runs already, the service orders the restart.
first_write() {
  outcome=0
  /usr/bin/ecs-regcred sync --boot --timeout "$timeout" || outcome=$?
  [ "$outcome" != 0 ] || return 0
  case $outcome:$fail_closed in
    64:* | 78:*) refuse "$outcome" 'the settings are not usable (above), so the service was not started; mend them and run this again' ;;
    *:yes) say 'the credentials are not in place, and --fail-closed says that this machine is not to go on without' >&2 ;;
    *)
      say "the credentials are not in place yet (status $outcome, above); the ECS agent may start without them, and the service goes on trying" >&2
      outcome=0
      ;;
  esac
}

# Nothing here waits for a job: in user data, which is part of the boot, the boot would wait for itself.
start_service() {
  case $init in
    systemd)
      systemctl daemon-reload
      if [ -e "$owed" ]; then systemctl --no-block restart ecs-regcred.service; else systemctl --no-block start ecs-regcred.service; fi
      rm -f "$owed"
      say "release $release is installed; see: systemctl status ecs-regcred, ecs-regcred status"
      ;;
    upstart)
      initctl reload-configuration || true
      # `restart` would keep the job file that it started with.
      if [ -e "$owed" ]; then initctl stop ecs-regcred >/dev/null 2>&1 || true; fi
      initctl status ecs-regcred 2>/dev/null | grep -q 'start/' || initctl start --no-wait ecs-regcred >/dev/null
      rm -f "$owed"
      say "release $release is installed; see: status ecs-regcred, /var/log/ecs-regcred.log, ecs-regcred status"
      ;;
  esac
}

take_off() {
  [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || refuse 77 'this needs root: sudo sh install.sh --uninstall'
  [ ! -d "$DESTDIR$base" ] || take_turn
  if [ -z "$DESTDIR" ]; then
    if [ -d /run/systemd/system ]; then
      systemctl stop ecs-regcred.service ecs-regcred-boot.service 2>/dev/null || true
    else
      initctl stop ecs-regcred >/dev/null 2>&1 || true
    fi
  fi
  state=$(setting state-dir /var/lib/ecs-regcred)
  file=$(setting ecs-config /etc/ecs/ecs.config)
  # Left where a write was killed, and credentials are in it: beside the file, or beside what it is a link to.
  target=$DESTDIR$file
  [ -n "$DESTDIR" ] || target=$(readlink -f "$file" || echo "$file")
  rm -f "${target%/*}/.${target##*/}.ecs-regcred-"*.tmp
  file=$(setting metrics-file '')
  # Its alarms would go off, and never end.
  [ -z "$file" ] || rm -f "$DESTDIR$file" "$DESTDIR${file%/*}/.${file##*/}.ecs-regcred-"*.tmp
  units=$DESTDIR/etc/systemd/system
  for unit in ecs-regcred.service ecs-regcred-boot.service; do
    rm -f "$units/$unit" "$units/$unit.new" "$units/multi-user.target.wants/$unit" "$units/$unit.d/10-install.conf" "$units/$unit.d/10-install.conf.new"
    rmdir "$units/$unit.d" 2>/dev/null || true
  done
  rm -f "$DESTDIR/etc/init/ecs-regcred.conf" "$DESTDIR/etc/init/ecs-regcred.conf.new" "$DESTDIR/etc/logrotate.d/ecs-regcred"
  # Holds the copy of the last good credentials. Only files of ours, should the setting name a directory that others use.
  for file in state.json next-pass last-good.ecs.config lock; do rm -rf "$DESTDIR${state:?}/$file"; done
  rm -f "$DESTDIR$state"/.*.ecs-regcred-*.tmp
  rmdir "$DESTDIR$state" 2>/dev/null || true
  rm -rf "$DESTDIR/etc/ecs-regcred" "$DESTDIR$base"
  [ -n "$DESTDIR" ] || rm -f "$owed"
  rm -f "$DESTDIR/usr/bin/ecs-regcred"
  if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl reset-failed ecs-regcred.service ecs-regcred-boot.service 2>/dev/null || true
  fi
  say 'taken off; ecs.config keeps its credentials as they are, and from now on nobody renews them'
}

main "$@"
