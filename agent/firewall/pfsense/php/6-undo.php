<?php
/*
 * Going back: rollback to the snapshot, and removal, which is going back to where there was nothing. What is ours is put back or
 * taken away; nothing else is touched, so edits that somebody made meanwhile survive.
 */

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

/* Makes the Connections of a snapshot what they were in it (null: not there), and applies that. No preview: nothing may stop it. */
function hl_go_back(array $snapshot, string $why): array {
	[$config, $hash] = hl_read_clean();
	$before = hl_registry($config);
	[$new, $registry] = hl_restored($config, $before, $snapshot);
	$conns = [];
	$numbers = array_map('strval', array_column(hl_list($config, 'ipsec/phase1'), 'ikeid'));
	$lost = false;
	foreach (array_keys($snapshot['connections']) as $name) {
		$then = $registry['connections'][$name] ?? null;
		$now = $before['connections'][$name] ?? null;
		$made = $snapshot['made'][$name] ?? null;
		if ($now === null && $made !== null && !in_array((string)$made['n'], $numbers, true)) {
			$now = $made; /* saved over: gone from the configuration, and still running */
			$lost = true;
		}
		if ($then !== null || $now !== null) {
			$conns[] = hl_conn($then, $now, $config, $new);
		}
	}
	$classes = $lost || file_exists(HL_UNAPPLIED) ? HL_ALL : hl_classes($config, $new);
	$classes = $conns ? $classes : [];
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
		if ($then !== null) {
			$registry['connections'][$name] = $then['entry'];
		} else {
			unset($registry['connections'][$name]);
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
		$users = hl_users(array_diff($now['users'] ?? [], $names), array_intersect($was['users'] ?? [], $present));
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
		$users = hl_users(array_diff($now, $names), array_intersect($then['networks'][$network] ?? [], $present));
		if ($now && !$users) {
			hl_release_network($config, $registry, $network, $now);
		} elseif ($users) {
			hl_use_network($config, $registry, $network, $users);
		}
	}
}
