<?php
/*
 * Commit-confirm: apply with a snapshot and a dead-man timer, and confirm. The snapshot is a file beside this one (it holds
 * keys); it knows each Connection that changed since it was taken, and the shared things of that moment.
 */
const HL_SNAPSHOT = 'snapshot.json';
const HL_ATTEMPTS = 3;

/* The action of the agent. $request: {wanted, desired, generation, consent, key, revert: null | {id, after_s, up_before}} */
function hl_do_apply(array $request): array {
	$lock = hl_lock();
	$key = hl_open_key($request['key']);
	return hl_retry(fn() => hl_apply_once($request, $key));
}

function hl_retry(callable $once): array {
	for ($i = 1; ; $i++) {
		try {
			return $once();
		} catch (HlBusy $e) {
			if ($i === HL_ATTEMPTS) {
				throw $e;
			}
		}
	}
}

function hl_apply_once(array $request, string $key): array {
	[$config, $hash] = hl_read_clean();
	$name = $request['wanted']['connection'];
	[$new, $registry] = hl_build($config, $request, $key);
	$conn = hl_conn($registry['connections'][$name], hl_registry($config)['connections'][$name] ?? null, $config, $new);
	$classes = hl_classes($config, $new);
	if (file_exists(HL_UNAPPLIED) || hl_not_running($registry['connections'][$name])) {
		$classes = HL_ALL; /* an earlier change was cut short, or something took it away from the running system */
	}
	if ($classes) {
		hl_preview($config, $new, $hash, [$conn]);
	}
	$first = hl_load(HL_SNAPSHOT) === null;
	if ($request['revert']) {
		hl_take_snapshot($config, $name, $request['revert'], $registry['connections'][$name]);
	}
	try {
		hl_carry_out($config, $new, $hash, "apply $name", [$conn], $classes);
	} catch (HlBusy $e) {
		if ($request['revert'] && $first && !($e instanceof HlOverwritten)) {
			hl_drop_snapshot(); /* nothing was written */
		}
		throw $e;
	} catch (Throwable $e) {
		if ($request['revert']) {
			hl_undo_failed($e);
		}
		throw $e;
	}
	return ['changed' => $classes];
}

/* What failed half-way is taken back at once; if that fails, too, snapshot and timer are still there. */
function hl_undo_failed(Throwable $e): void {
	try {
		hl_retry(fn() => hl_rollback_once(null));
	} catch (Throwable $second) {
		throw new Exception("{$e->getMessage()}; and it could not be taken back yet: {$second->getMessage()}");
	}
}

/* Write and apply, with a mark for as long as the running system is behind the file. */
function hl_carry_out(array $old, array $new, string $hash, string $why, array $conns, array $classes): void {
	$before = file_exists(HL_UNAPPLIED);
	if ($classes) {
		touch(HL_UNAPPLIED); /* first: killed after the write, nobody would see that nothing runs */
	}
	try {
		if (!hl_equal($old, $new)) {
			hl_write($new, $hash, $why);
		}
	} catch (HlBusy $e) {
		if ($classes && !$before) {
			unlink(HL_UNAPPLIED);
		}
		throw $e;
	}
	if ($classes) {
		hl_apply($old, $new, $conns, $classes);
		$now = hl_read();
		foreach ($conns as $conn) {
			/* going back to what the owner's settings have left behind is drift, and meant to be: the agent repairs it then */
			$meant = fn() => hl_drift($new, hl_registry($new), $conn['name']);
			$lost = $conn['gone'] ? [] : array_diff(hl_drift($now, hl_registry($now), $conn['name']), $meant());
			if ($lost) {
				throw new HlOverwritten('somebody else saved over the change: ' . implode('; ', array_slice($lost, 0, 3)));
			}
		}
		@unlink(HL_UNAPPLIED);
	}
}

/*
 * What apply needs to know of a Connection. `restart`: a live SA was negotiated with other values. A new key alone does not
 * count: Azure may not have it yet, so it is for the next SA.
 */
function hl_conn(?array $entry, ?array $before, array $old, array $new): array {
	$one = $entry ?? $before;
	$negotiated = function (array $config, ?array $e) {
		$found = hl_owned($config, $e);
		$take = fn(string $kind, array $keys) => array_intersect_key(array_values($found[$kind] ?? [])[0][1] ?? [], array_flip($keys));
		return json_encode([
			$take('phase1', ['remote-gateway', 'encryption', 'peerid_type', 'peerid_data']),
			$take('phase2', ['encryption-algorithm-option', 'hash-algorithm-option', 'pfsgroup', 'localid', 'remoteid']),
		]);
	};
	$wanted = $one['wanted'];
	$local_as = $one['local_as'] ? ["neighbor {$wanted['bgp_peer']} local-as {$wanted['asn']} no-prepend replace-as"] : [];
	return [
		'name' => $wanted['connection'],
		'n' => $one['n'],
		'opt' => $one['opt'],
		'address' => $wanted['tunnel_address'],
		'bgp_peer' => $wanted['bgp_peer'],
		'old_peer' => $before !== null && $before['wanted']['peer'] !== ($entry['wanted']['peer'] ?? null) ? $before['wanted']['peer'] : null,
		'gone' => $entry === null,
		'restart' => $entry !== null && $before !== null && $wanted['initiates'] && $negotiated($old, $before) !== $negotiated($new, $entry),
		'frr_lines' => $entry === null ? [] : array_merge($wanted['frr_lines'], $local_as),
		'swanctl_lines' => $entry === null ? [] : $wanted['swanctl_lines'],
	];
}

/* Things that are in the configuration and not in the running system. */
function hl_not_running(array $entry): array {
	$swanctl = (string)@file_get_contents(HL_SWANCTL);
	$frr = (string)@file_get_contents(HL_FRR);
	$wanted = $entry['wanted'];
	return array_keys(array_filter([
		"ipsec{$entry['n']} without its address" => get_interface_ip($entry['opt']) !== $wanted['tunnel_address'],
		"con{$entry['n']} not in swanctl.conf" => !preg_match("/^\\s*con{$entry['n']} \\{/m", $swanctl),
		"neighbor {$wanted['bgp_peer']} not in frr.conf" => !str_contains($frr, $wanted['frr_lines'][0]),
	]));
}

/* snapshot ---------------------------------------------------------------------------------------------------------- */

/* $made is what is about to be: with the registry lost, the way back still knows what to take away. */
function hl_take_snapshot(array $config, string $name, array $revert, array $made): void {
	$registry = hl_registry($config);
	$snapshot = hl_load(HL_SNAPSHOT) ?? ['up_before' => $revert['up_before'], 'shared' => $registry['shared'], 'connections' => [], 'made' => []];
	$snapshot['made'][$name] = $made;
	if (!array_key_exists($name, $snapshot['connections'])) {
		$entry = $registry['connections'][$name] ?? null;
		$snapshot['connections'][$name] = $entry === null ? null : ['entry' => $entry, 'owned' => hl_owned($config, $entry)];
	}
	$snapshot['id'] = $revert['id'];
	$snapshot['deadline'] = hrtime(true) / 1e9 + $revert['after_s'];
	hl_save(HL_SNAPSHOT, $snapshot);
	hl_arm($revert['id'], $revert['after_s']);
}

/* The timer is this file again, in a process that nobody waits for; it acts only on the snapshot that it was armed for. */
function hl_arm(string $id, float $after): void {
	hl_disarm();
	file_put_contents(HL_ARMED, $id);
	$words = array_map('escapeshellarg', ['/usr/bin/nohup', '/usr/local/bin/php', '-f', __FILE__, 'deadman', $id, (string)$after]);
	exec(implode(' ', $words) . ' </dev/null >/dev/null 2>&1 & echo $!', $said);
	file_put_contents(HL_ARMED, "$id " . (int)($said[0] ?? 0));
}

function hl_disarm(): void {
	$pid = (int)(explode(' ', (string)@file_get_contents(HL_ARMED))[1] ?? 0);
	/* a number may have been given to another process since */
	if ($pid > 1 && $pid !== getmypid() && str_contains(hl_run("/bin/ps -ww -o command= -p $pid")[1], 'deadman')) {
		posix_kill($pid, 15);
	}
	@unlink(HL_ARMED);
}

function hl_drop_snapshot(): void {
	@unlink(HL_HOME . '/' . HL_SNAPSHOT);
	hl_disarm();
}

function hl_do_confirm(array $request): array {
	$lock = hl_lock();
	hl_drop_snapshot();
	return [];
}

/* The timer: sleeps before it loads anything, so that it is small, and then does not give up at once. */
function hl_deadman(string $id, float $after): void {
	set_time_limit(0);
	sleep((int)$after);
	usleep((int)(fmod($after, 1) * 1e6));
	hl_include();
	for ($busy = $failed = 0; $busy < 60 && $failed < 3;) {
		try {
			hl_do_rollback(['only' => $id]);
			return;
		} catch (HlBusy $e) {
			$busy++;
		} catch (Throwable $e) {
			$failed++; /* each attempt applies again, which is not for free */
		}
		syslog(LOG_ERR, 'homelink: the rollback failed: ' . $e->getMessage());
		sleep(10);
	}
}
