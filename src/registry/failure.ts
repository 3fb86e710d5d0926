import { ProbeEnd } from './finding.js'

/** A request's error in an operator's words. Anything that is not the network's comes back as it was: it is a bug. */
export function describeFailure(error: unknown, host: string, timeoutMs: number): unknown {
  if (!(error instanceof Error)) return error
  if (error.name === 'TimeoutError') {
    return new ProbeEnd('timeout', `${host} gave no complete answer within ${timeoutMs / 1000} s: check its state, and the route, the security group and the proxy to it`)
  }
  const code = String((error as NodeJS.ErrnoException).code ?? '')
  if (/^(ENOTFOUND|EAI_)/.test(code)) return new ProbeEnd('dns', `the name ${host} cannot be resolved (${code}): check the spelling and the DNS of this machine`)
  if (/^(EPROTO|ERR_SSL_)/.test(code)) return new ProbeEnd('no-tls', `${host} does not answer in TLS (${code}): if it is meant to speak plain http, name it in REGCRED_PROBE_INSECURE`)
  if (code in CERTIFICATE) return new ProbeEnd('tls', `the certificate of ${host} ${CERTIFICATE[code]} (${code})`)
  if (/^(ERR_TLS|CERT|UNABLE_TO)/.test(code)) return new ProbeEnd('tls', `the certificate of ${host} is not good (${code}); ${TRUST}`)
  if (code.startsWith('HPE_')) return new ProbeEnd('not-a-registry', `${host} does not answer in HTTP (${code}): is this the registry's host and port?`)
  if (code === 'ECONNREFUSED') return new ProbeEnd('connection', `${host} refuses the connection (ECONNREFUSED): is the registry running, and is the port right?`)
  if (/^E[A-Z]+$/.test(code)) return new ProbeEnd('connection', `the connection to ${host} failed (${code}): check the route, the security group and the proxy to it`)
  return error
}

const TRUST = 'name the PEM file of its CA in REGCRED_PROBE_CA_FILE (one that this system trusts is in /etc/pki/tls/certs/ca-bundle.crt or /etc/ssl/certs/ca-certificates.crt)'

// Names as in Node's documentation of tls, "X509 certificate error codes".
const CERTIFICATE: Record<string, string> = {
  CERT_HAS_EXPIRED: 'has expired: renew it, or set the clock of this machine',
  CERT_NOT_YET_VALID: 'is not valid yet: check the clock of this machine',
  ERR_TLS_CERT_ALTNAME_INVALID: 'is for another name: use the name that it was made for, or renew it with this one',
  DEPTH_ZERO_SELF_SIGNED_CERT: `is signed by itself; ${TRUST}`,
  SELF_SIGNED_CERT_IN_CHAIN: `comes from a CA that is not trusted here; ${TRUST}`,
  UNABLE_TO_GET_ISSUER_CERT: `comes from a CA that is not trusted here; ${TRUST}`,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: `comes from a CA that is not trusted here; ${TRUST}`,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: `comes from a CA that is not trusted here, or its server leaves out the CA in between; ${TRUST}`,
}
