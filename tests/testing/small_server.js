// A server for original peers: WIRE.md sections 1 to 3, with the codes of section 6. Usage: node small_server.js SOCKET TOKEN
'use strict';
const net = require('net');
const [path, token] = process.argv.slice(2);
const MAX = 16 * 1024 * 1024;
const clients = new Set();

net.createServer({ allowHalfOpen: false }, (socket) => {
  const state = { authenticated: false, buffer: Buffer.alloc(0), tries: 0, bad: 0, running: new Set() };
  const send = (message) => {
    const body = Buffer.from(JSON.stringify({ ...message, version: '1.0.0', timestamp: Date.now() }));
    const head = Buffer.alloc(9);
    head.write('POPPO', 'ascii');
    head.writeUInt32BE(body.length, 5);
    if (!socket.destroyed) socket.write(Buffer.concat([head, body]));
  };
  const fail = (id, code, message) => send({ type: 'error', id: id === undefined ? null : id, error: { message, code } });
  const end = () => { state.ended = true; socket.end(); };
  const timer = setTimeout(() => { if (!state.authenticated) end(); }, 300);
  const me = { send, state };
  clients.add(me);

  const undecodable = (id) => {
    fail(id, 'BAD_MESSAGE', 'This is no message');
    state.bad += 1;
    if (!state.authenticated || state.bad >= 16) end();
  };
  const handle = (payload) => {
    let message;
    try {
      message = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
    } catch (error) {
      return undecodable(null);
    }
    if (message === null || typeof message !== 'object' || Array.isArray(message)) return undecodable(null);
    if (typeof message.type !== 'string') return undecodable(message.id);
    state.bad = 0;
    const version = message.version === undefined ? '1.0.0' : String(message.version);
    if (version.split('.')[0] !== '1') {
      fail(message.id, 'VERSION_MISMATCH', `The server speaks 1.0.0, the client ${version}`);
      return end();
    }
    if (message.type === 'auth') {
      if (message.token === token) {
        state.authenticated = true;
        return send({ type: 'auth-success', id: message.id });
      }
      fail(message.id, 'AUTH_FAILED', 'Invalid authentication token');
      state.tries += 1;
      return state.tries >= 3 ? end() : undefined;
    }
    if (!state.authenticated) return fail(message.id, 'AUTH_REQUIRED', 'Authentication required');
    if (message.type !== 'command') return fail(message.id, 'BAD_MESSAGE', `Unknown message type: ${message.type}`);
    return command(message);
  };
  const command = ({ id, command: name, args = {} }) => {
    if (state.running.has(id)) return fail(id, 'DUPLICATE_ID', 'A command with this id is running');
    if (typeof args !== 'object' || Array.isArray(args)) return fail(id, 'INVALID_ARGS', 'args has to be an object');
    if (name === 'conformance.wait') return state.running.add(id);
    if (name === 'conformance.echo') return send({ type: 'response', id, success: true, result: args });
    if (name === 'conformance.emit') {
      for (const each of clients) {
        if (each.state.authenticated) each.send({ type: 'event', event: 'conformance.event', data: args });
      }
      return send({ type: 'response', id, success: true, result: null });
    }
    return fail(id, 'UNKNOWN_COMMAND', `Unknown command: ${name}`);
  };

  socket.on('data', (data) => {
    state.buffer = Buffer.concat([state.buffer, data]);
    while (!state.ended && state.buffer.length >= 9) {
      if (state.buffer.toString('latin1', 0, 5) !== 'POPPO') {
        fail(null, 'BAD_FRAME', 'This is no frame');
        return end();
      }
      const length = state.buffer.readUInt32BE(5);
      if (length > (state.authenticated ? MAX : 64 * 1024)) {
        fail(null, 'FRAME_TOO_LARGE', 'The frame is too large');
        return end();
      }
      if (state.buffer.length < 9 + length) return undefined;
      const payload = state.buffer.subarray(9, 9 + length);
      state.buffer = state.buffer.subarray(9 + length);
      handle(payload);
    }
    return undefined;
  });
  socket.on('error', () => {});
  socket.on('close', () => { clearTimeout(timer); clients.delete(me); });
  send({ type: 'welcome', authRequired: true });
}).listen(path, () => console.log('ready'));
