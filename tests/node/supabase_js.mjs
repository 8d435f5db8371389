// Drives the real supabase-js. Reads {url, key, token, calls: [[name, ...arguments]]}, writes one answer a call.
import { readFileSync } from "node:fs";
import { createClient } from "@supabase/supabase-js";

const PICTURE = new Blob(["not from us"], { type: "image/png" });
const EVERY_ROW = ["prompt_hash", ""]; // a change without a filter could be refused for that alone

const can = {
  rpc: (client, name, options) => client.rpc(name, options),
  select: (client, table) => client.from(table).select(),
  insert: (client, table, row) => client.from(table).insert(row),
  upsert: (client, table, row) => client.from(table).upsert(row),
  update: (client, table, row) => client.from(table).update(row).neq(...EVERY_ROW),
  delete: (client, table) => client.from(table).delete().neq(...EVERY_ROW),
  selectColumns: (client, table, columns) => client.from(table).select(columns),
  updateAll: (client, table, row) => client.from(table).update(row).not(Object.keys(row)[0], "is", null),
  deleteAll: (client, table) => client.from(table).delete().not("created_at", "is", null),
  selectInSchema: (client, schema, table) => client.schema(schema).from(table).select(),
  getPublicUrl: (client, bucket, path) => client.storage.from(bucket).getPublicUrl(path),
  upload: (client, bucket, path) => client.storage.from(bucket).upload(path, PICTURE),
  replace: (client, bucket, path) => client.storage.from(bucket).upload(path, PICTURE, { upsert: true }),
  uploadSigned: (client, bucket, path, token) =>
    client.storage.from(bucket).uploadToSignedUrl(path, token, PICTURE, { contentType: "image/png" }),
  list: (client, bucket) => client.storage.from(bucket).list("", { limit: 100 }),
  info: (client, bucket, path) => client.storage.from(bucket).info(path),
  sign: (client, bucket, path) => client.storage.from(bucket).createSignedUrl(path, 60),
  remove: (client, bucket, path) => client.storage.from(bucket).remove([path]),
  createBucket: (client, bucket) => client.storage.createBucket(bucket),
  listBuckets: (client) => client.storage.listBuckets(),
};

const { url, key, token, calls } = JSON.parse(readFileSync(0, "utf8"));
const client = createClient(url, key, {
  ...(token ? { accessToken: async () => token } : {}),
  realtime: { transport: globalThis.WebSocket ?? class {} }, // Node 20 has none, and nothing here opens one
});
const answers = [];
for (const [name, ...options] of calls) {
  const { data, error, status } = await can[name](client, ...options);
  // PostgREST's errors have a code; Storage's have the status that its body names.
  const code = error && (error.statusCode ?? error.code);
  answers.push({ data: data ?? null, code: code ?? null, status: status ?? null, message: error?.message ?? null });
}
console.log(JSON.stringify(answers));
