// A checkout worker in another language: it asks the admission service over gRPC.
//
//     node worker.js NAME LOG PAYMENT_PORT TARGET
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const readline = require('node:readline');
const { promisify } = require('node:util');
const { setTimeout: sleep } = require('node:timers/promises');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const POLICY = 'payments/charge';
const TIMEOUT_MS = 5000;
const PROTO = path.join(__dirname, '../../../proto/admittance/v1/admission.proto');

const [name, log, port, target] = process.argv.slice(2);
const records = fs.openSync(log, 'a');
const agent = new http.Agent({ keepAlive: true });

const definition = protoLoader.loadSync(PROTO, { enums: String, keepCase: true });
const proto = grpc.loadPackageDefinition(definition);
const client = new proto.admittance.v1.Admission(target, grpc.credentials.createInsecure(), {
  'grpc.enable_http_proxy': 0,
});
const admit = promisify(client.admit.bind(client));
const report = promisify(client.report.bind(client));

// Seconds of CLOCK_MONOTONIC, as in Python's time.monotonic().
const monotonic = () => Number(process.hrtime.bigint()) / 1e9;

function charge(id) {
  return new Promise((resolve) => {
    const headers = { 'X-Worker': name, 'X-Call': id, 'Content-Length': 0 };
    const options = { port, host: '127.0.0.1', path: '/charge', method: 'POST', agent, headers };
    const request = http.request({ ...options, timeout: TIMEOUT_MS }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode === 200));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
    request.end();
  });
}

async function call(id) {
  const asked = monotonic();
  const verdict = await admit({ policy: POLICY });
  const record = { id, worker: name, asked, answered: monotonic() };
  if (verdict.decision !== 'DECISION_ADMITTED') {
    return { ...record, verdict: verdict.reason.replace('REASON_', '').toLowerCase() };
  }
  const ok = await charge(id);
  const reported = monotonic();
  const outcome = ok ? 'OUTCOME_SUCCESS' : 'OUTCOME_FAILURE';
  const duration_us = Math.round((reported - record.answered) * 1e6);
  const { result } = await report({ permit: verdict.permit, outcome, duration_us, final: true });
  const counted = result === 'REPORT_RESULT_SETTLED';
  return { ...record, verdict: 'admitted', ok, counted, reported, finished: monotonic() };
}

async function caller(number, script) {
  let due = script.start + (script.period * number) / script.callers;
  for (let count = 1; due < script.end; count += 1) {
    await sleep(Math.max(0, (due - monotonic()) * 1000));
    fs.writeSync(records, `${JSON.stringify(await call(`${name}/${number}.${count}`))}\n`);
    due = Math.max(due + script.period, monotonic());
  }
}

async function main() {
  await promisify(client.waitForReady.bind(client))(Date.now() + 2 * TIMEOUT_MS);
  console.log('ready');
  const input = readline.createInterface({ input: process.stdin });
  const script = JSON.parse((await input[Symbol.asyncIterator]().next()).value);
  await Promise.all(Array.from({ length: script.callers }, (_, number) => caller(number, script)));
  process.exit(0);
}

main().catch((error) => {
  console.error(`${name}: ${error.message}`);
  process.exit(1);
});
