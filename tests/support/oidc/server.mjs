// An OAuth server for tests: `node server.mjs CONFIG`, JSON with port, certificate, key and clients.
// POST /test/consent mints a refresh token, as a person's consent would; GET /test/seen counts requests.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { importJWK, jwtVerify } from 'jose';
import Provider from 'oidc-provider';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `https://127.0.0.1:${config.port}`;

// One process keeps everything; `consume` is atomic, which the memory adapter's is not.
const kept = new Map();
class Adapter {
  constructor(name) {
    this.name = name;
  }
  key(id) {
    return `${this.name}:${id}`;
  }
  async upsert(id, payload) {
    kept.set(this.key(id), payload);
  }
  async find(id) {
    return kept.get(this.key(id));
  }
  async findBy(name, value) {
    for (const [key, payload] of kept) {
      if (key.startsWith(`${this.name}:`) && payload[name] === value) return payload;
    }
    return undefined;
  }
  async findByUid(uid) {
    return this.findBy('uid', uid);
  }
  async findByUserCode(userCode) {
    return this.findBy('userCode', userCode);
  }
  async consume(id) {
    const payload = kept.get(this.key(id));
    if (payload.consumed) throw new Error('consumed twice');
    payload.consumed = Math.floor(Date.now() / 1000);
  }
  async destroy(id) {
    kept.delete(this.key(id));
  }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of kept) if (payload.grantId === grantId) kept.delete(key);
  }
}

const provider = new Provider(issuer, {
  adapter: Adapter,
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none',
    ...(config.clientRoot === null ? [] : ['tls_client_auth', 'self_signed_tls_client_auth']),
  ],
  clients: config.clients,
  cookies: { keys: ['for tests alone'] },
  features: {
    clientCredentials: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => config.nonces },
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    revocation: { enabled: true },
    mTLS: {
      enabled: config.clientRoot !== null,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) =>
        property === 'tls_client_auth_san_dns' &&
        ctx.socket.getPeerX509Certificate().subjectAltName.split(', ').includes(`DNS:${expected}`),
    },
  },
  pkce: { required: () => false },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', 'api'],
  ttl: { ClientCredentials: config.lifetime, AccessToken: config.lifetime, RefreshToken: 3600, Grant: 3600 },
});

// RFC 7523 and RFC 8693 have no implementation in oidc-provider itself: their grants are judged here.
const issue = async (ctx) => {
  const token = new provider.ClientCredentials({ client: ctx.oidc.client, scope: 'api' });
  ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer' };
};
const refuse = (ctx) => {
  ctx.status = 400;
  ctx.body = { error: 'invalid_grant' };
};
provider.registerGrantType('urn:ietf:params:oauth:grant-type:jwt-bearer', async (ctx) => {
  const { client, params } = ctx.oidc;
  try {
    const key = await importJWK(client.jwks.keys[0]);
    const { payload } = await jwtVerify(params.assertion, key, { audience: `${issuer}/token`, issuer: client.clientId });
    if (payload.sub !== 'somebody') return refuse(ctx);
  } catch {
    return refuse(ctx);
  }
  return issue(ctx);
}, ['assertion', 'scope']);
provider.registerGrantType('urn:ietf:params:oauth:grant-type:token-exchange', async (ctx) => {
  const { params } = ctx.oidc;
  const known = params.subject_token_type === 'urn:ietf:params:oauth:token-type:access_token';
  return known && params.subject_token === 'a-token-from-elsewhere' ? issue(ctx) : refuse(ctx);
}, ['subject_token', 'subject_token_type', 'audience', 'scope']);

provider.on('server_error', (_, error) => console.error(error));
provider.on('grant.error', (_, error) => console.error(error.message, error.error_description));

const seen = { asked: 0, granted: 0, revoked: 0, pushed: 0, called: 0, nonces: 0 };
provider.use(async (ctx, next) => {
  if (ctx.path === '/test/consent') {
    const client = await provider.Client.find(ctx.query.client);
    const grant = new provider.Grant({ accountId: 'a-person', clientId: client.clientId });
    grant.addOIDCScope('openid offline_access api');
    const token = new provider.RefreshToken({
      accountId: 'a-person',
      client,
      grantId: await grant.save(),
      gty: 'authorization_code',
      scope: 'openid offline_access api',
    });
    ctx.body = { refresh_token: await token.save() };
    return;
  }
  if (ctx.path === '/test/seen') {
    ctx.body = seen;
    return;
  }
  if (ctx.path === '/test/withdraw') {
    for (const key of [...kept.keys()]) if (!key.startsWith('Client:')) kept.delete(key);
    ctx.body = {};
    return;
  }
  if (ctx.path === '/token') seen.asked += 1;
  if (ctx.path === '/token/revocation') seen.revoked += 1;
  if (ctx.path === '/request') seen.pushed += 1;
  if (ctx.path === '/me') seen.called += 1;
  await next();
  if (ctx.body?.error === 'use_dpop_nonce') seen.nonces += 1;
  if (ctx.path === '/token' && ctx.status === 200) seen.granted += 1;
});

const tls = { cert: config.certificate, key: config.key };
if (config.clientRoot !== null) Object.assign(tls, { ca: config.clientRoot, requestCert: true, rejectUnauthorized: false });
createServer(tls, provider.callback()).listen(config.port, '127.0.0.1');
