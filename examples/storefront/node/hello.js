const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');
const { join } = require('node:path');

const proto = loadSync(join(__dirname, '../../../proto/admittance/v1/admission.proto'), { enums: String });
const { Admission } = grpc.loadPackageDefinition(proto).admittance.v1;
const client = new Admission(process.argv[2] ?? '127.0.0.1:50051', grpc.credentials.createInsecure());

client.admit({ policy: 'payments/charge' }, (error, verdict) => {
  if (error || verdict.decision !== 'DECISION_ADMITTED') return console.log(error?.message ?? verdict.reason);
  client.report({ permit: verdict.permit, outcome: 'OUTCOME_SUCCESS' }, (_, answer) => console.log(answer.result));
});
