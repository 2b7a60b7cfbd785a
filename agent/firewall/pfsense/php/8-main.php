<?php
/*
 * php -f FILE ACTION [REQUEST.json]. The request is a file of its own and is deleted once it was read. The pre-shared key comes
 * sealed for a key pair of one use: over the REST package everything passes through command lines.
 */
const HL_PRIVATE = HL_HOME . '/once.pem';

function hl_do_key(array $request): array {
	$pair = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_RSA, 'private_key_bits' => 2048]);
	if (!$pair || !openssl_pkey_export($pair, $pem) || file_put_contents(HL_PRIVATE, $pem) === false) {
		throw new Exception('no key pair could be made: ' . openssl_error_string());
	}
	$rsa = openssl_pkey_get_details($pair)['rsa'];
	return ['n' => bin2hex($rsa['n']), 'e' => bin2hex($rsa['e'])];
}

function hl_open_key(string $sealed): string {
	$pem = (string)@file_get_contents(HL_PRIVATE);
	@unlink(HL_PRIVATE);
	if (!@openssl_private_decrypt(hex2bin($sealed), $key, $pem, OPENSSL_PKCS1_OAEP_PADDING)) {
		throw new HlBusy('the key pair was used already');
	}
	return $key;
}

function hl_do_start(array $request): array {
	return hl_initiate($request, false);
}

function hl_do_initiate(array $request): array {
	return hl_initiate($request, true);
}

/* Starts a tunnel; with $close its SA is closed by force before (charon keeps a dead one for minutes). Without, only where there is none. */
function hl_initiate(array $request, bool $close): array {
	$entry = hl_registry(hl_read())['connections'][$request['connection']] ?? null;
	if ($entry === null) {
		return ['owned' => false];
	}
	$con = "con{$entry['n']}";
	if ($close) {
		hl_run("/usr/local/sbin/swanctl --terminate --force --timeout 2 --ike $con");
	} elseif (!$entry['wanted']['initiates'] || array_filter(hl_sas(), fn($sa) => ($sa['con-id'] ?? '') === $con)) {
		return ['owned' => true, 'started' => false];
	}
	[$status, $said] = hl_run('/usr/local/sbin/swanctl --initiate --timeout ' . (int)$request['timeout_s'] . " --child $con");
	return ['owned' => true, 'started' => true, 'up' => $status === 0, 'said' => substr($said, -4000)];
}

function hl_main(array $argv): void {
	$action = $argv[1] ?? '';
	if ($action === 'deadman') {
		hl_deadman($argv[2], (float)$argv[3]);
		return;
	}
	try {
		$request = isset($argv[2]) ? json_decode((string)file_get_contents($argv[2]), true, 64, JSON_THROW_ON_ERROR) : [];
		if (isset($argv[2])) {
			unlink($argv[2]);
		}
		hl_include();
		$said = ['ok' => true] + ("hl_do_$action")($request);
	} catch (HlRefused $e) {
		$said = ['ok' => false, 'kind' => 'refused', 'error' => $e->getMessage()];
	} catch (HlBusy $e) {
		$said = ['ok' => false, 'kind' => 'busy', 'error' => $e->getMessage()];
	} catch (Throwable $e) {
		$said = ['ok' => false, 'kind' => 'failed', 'error' => $e->getMessage() . ' (' . basename($e->getFile()) . ':' . $e->getLine() . ')'];
	}
	echo "\n", HL_MARK, json_encode($said, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}

hl_main($argv);
