<?php
/*
 * Commit-confirm: apply with a snapshot and a dead-man timer, confirm, rollback, remove. The snapshot is a file beside this one
 * (it holds keys); it knows each Connection that changed since it was taken, and the shared things of that moment. A rollback
 * puts back what is ours and touches nothing else, so edits that somebody made meanwhile survive.
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
		hl_take_snapshot($config, $name, $request['revert']);
	}
	try {
		hl_carry_out($config, $new, $hash, "apply $name", [$conn], $classes);
	} catch (HlBusy $e) {
		if ($request['revert'] && $first) {
			hl_drop_snapshot(); /* nothing was written */
		}
		throw $e;
	} catch (Throwable $e) {
		if ($request['revert']) {
			hl_retry(fn() => hl_rollback_once(null));
		}
		throw $e;
	}
	return ['changed' => $classes];
}

/* Write and apply, with a mark for as long as the running system is behind the file. */
function hl_carry_out(array $old, array $new, string $hash, string $why, array $conns, array $classes): void {
	if (!hl_equal($old, $new)) {
		if ($classes) {
			touch(HL_UNAPPLIED);
		}
		hl_write($new, $hash, $why);
	}
	if ($classes) {
		touch(HL_UNAPPLIED);
		hl_apply($old, $new, $conns, $classes);
		$now = hl_read();
		foreach ($conns as $conn) {
			$lost = $conn['gone'] ? [] : hl_drift($now, hl_registry($now), $conn['name']);
			if ($lost) {
				throw new Exception('somebody else saved over the change: ' . implode('; ', array_slice($lost, 0, 3)));
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
		'peer' => ($before ?? $one)['wanted']['peer'],
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

function hl_take_snapshot(array $config, string $name, array $revert): void {
	$registry = hl_registry($config);
	$snapshot = hl_load(HL_SNAPSHOT) ?? ['up_before' => $revert['up_before'], 'shared' => $registry['shared'], 'connections' => []];
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
	usleep((int)($after * 1e6));
	hl_include();
	for ($i = 0; $i < 60; $i++) {
		try {
			hl_do_rollback(['only' => $id]);
			return;
		} catch (Throwable $e) {
			syslog(LOG_ERR, 'homelink: the rollback failed and is tried again: ' . $e->getMessage());
			sleep(10);
		}
	}
}

/* going back ---------------------------------------------------------------------------------------------------------- */

function hl_do_rollback(array $request): array {
	$lock = hl_lock();
	return hl_retry(fn() => hl_rollback_once($request['only'] ?? null));
}

function hl_rollback_once(?string $only): array {
	$snapshot = hl_load(HL_SNAPSHOT);
	if ($snapshot === null || ($only !== null && $snapshot['id'] !== $only)) {
		return ['changed' => []];
	}
	$changed = hl_go_back($snapshot, 'roll back ' . implode(', ', array_keys($snapshot['connections'])));
	hl_drop_snapshot();
	return ['changed' => $changed];
}

function hl_do_remove(array $request): array {
	$lock = hl_lock();
	$name = $request['connection'];
	$snapshot = hl_load(HL_SNAPSHOT);
	if ($snapshot !== null && array_key_exists($name, $snapshot['connections'])) {
		unset($snapshot['connections'][$name]);
		if ($snapshot['connections']) {
			hl_save(HL_SNAPSHOT, $snapshot);
		} else {
			hl_drop_snapshot();
		}
	}
	return hl_retry(function () use ($name) {
		$shared = hl_registry(hl_read())['shared'];
		return ['changed' => hl_go_back(['connections' => [$name => null], 'shared' => $shared], "remove $name")];
	});
}

/* Makes the Connections of a snapshot what they were in it (null: not there), and applies that. */
function hl_go_back(array $snapshot, string $why): array {
	[$config, $hash] = hl_read_clean();
	$before = hl_registry($config);
	[$new, $registry] = hl_restored($config, $before, $snapshot);
	$conns = [];
	foreach (array_keys($snapshot['connections']) as $name) {
		$then = $registry['connections'][$name] ?? null;
		$now = $before['connections'][$name] ?? null;
		if ($then !== null || $now !== null) {
			$conns[] = hl_conn($then, $now, $config, $new);
		}
	}
	$classes = file_exists(HL_UNAPPLIED) ? HL_ALL : hl_classes($config, $new);
	$classes = $conns ? $classes : [];
	if ($classes) {
		hl_preview($config, $new, $hash, $conns);
	}
	hl_carry_out($config, $new, $hash, $why, $conns, $classes);
	return $classes;
}

function hl_restored(array $config, array $registry, array $snapshot): array {
	$names = array_keys($snapshot['connections']);
	foreach ($snapshot['connections'] as $name => $then) {
		$now = hl_owned($config, $registry['connections'][$name] ?? null);
		$owned = $then['owned'] ?? [];
		foreach (array_unique([...array_keys($now), ...array_keys($owned)]) as $kind) {
			hl_restore_kind($config, $kind, $now[$kind] ?? [], $owned[$kind] ?? []);
		}
		unset($registry['connections'][$name]);
		if ($then !== null) {
			$registry['connections'][$name] = $then['entry'];
		}
	}
	hl_restore_shared($config, $registry, $snapshot['shared'], $names);
	hl_set_registry($config, $registry); /* before its own section's parent is looked at */
	$deepest = $registry['shared']['parents'];
	usort($deepest, fn($a, $b) => substr_count($b, '/') <=> substr_count($a, '/'));
	foreach ($deepest as $path) {
		if (hl_empty(array_get_path($config, $path))) {
			array_del_path($config, $path);
			$registry['shared']['parents'] = array_values(array_diff($registry['shared']['parents'], [$path]));
		}
	}
	if ($registry['connections']) {
		hl_set_registry($config, $registry);
	}
	return [hl_normal($config), $registry];
}

/* The objects of one kind: in both, replaced where it stands; only then, put back at its old place; only now, taken away. */
function hl_restore_kind(array &$config, string $kind, array $now, array $then): void {
	if ($kind === 'interface') {
		foreach (array_diff_key($now, $then) as $id => $_) {
			array_del_path($config, "interfaces/$id");
		}
		foreach ($then as $id => [$_, $entry]) {
			array_set_path($config, "interfaces/$id", $entry);
		}
		return;
	}
	$list = hl_list($config, HL_KINDS[$kind][0]);
	$gone = array_map('strval', array_keys(array_diff_key($now, $then)));
	$list = array_values(array_filter($list, fn($e) => !is_array($e) || !in_array(hl_id($kind, $e), $gone, true)));
	foreach ($then as $id => [$index, $entry]) {
		$i = hl_find($list, fn($e) => hl_id($kind, $e) === (string)$id);
		if ($i !== null) {
			$list[$i] = $entry;
		} else {
			array_splice($list, min($index, count($list)), 0, [$entry]);
		}
	}
	array_set_path($config, HL_KINDS[$kind][0], $list);
}

/* Shared things have the users that they had, as far as it is about these Connections; without a user they are undone. */
function hl_restore_shared(array &$config, array &$registry, array $then, array $names): void {
	$present = array_intersect($names, array_keys($registry['connections']));
	foreach (array_unique([...array_keys($registry['shared']['scalars']), ...array_keys($then['scalars'])]) as $path) {
		$now = $registry['shared']['scalars'][$path] ?? null;
		$was = $then['scalars'][$path] ?? null;
		$users = array_values(array_unique([...array_diff($now['users'] ?? [], $names), ...array_intersect($was['users'] ?? [], $present)]));
		if (!$users) {
			if ($now !== null) {
				hl_release_scalar($config, $registry, $path, $now['users']);
			}
			continue;
		}
		$value = $was !== null && !array_diff($now['users'] ?? [], $names) ? $was['new'] : $now['new'];
		$have = array_get_path($config, $path);
		if ($now === null || $have === $now['new']) {
			array_set_path($config, $path, $value);
		}
		$registry['shared']['scalars'][$path] = ['old' => ($now ?? $was)['old'], 'new' => $value, 'users' => $users];
	}
	foreach (array_unique([...array_keys($registry['shared']['networks']), ...array_keys($then['networks'])]) as $network) {
		$now = $registry['shared']['networks'][$network] ?? [];
		$users = array_values(array_unique([...array_diff($now, $names), ...array_intersect($then['networks'][$network] ?? [], $present)]));
		if ($now && !$users) {
			hl_release_network($config, $registry, $network, $now);
		} elseif ($users) {
			hl_use_network($config, $registry, $network, $users);
		}
	}
}
