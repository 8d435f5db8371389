// Sign addresses with client/sign.ts, compiled: {folder, calls: [[url, key, models, expiresAt]]} in, addresses or refusals out.
import { pathToFileURL } from "node:url";

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { folder, calls } = JSON.parse(input);
const { NotSignable, generationKey, parseSigningKeys, signUrl } = await import(pathToFileURL(`${folder}/sign.js`).href);

const answers = [];
for (const [url, setting, models, expiresAt] of calls) {
  try {
    const [key] = parseSigningKeys(setting);
    const options = { ...models, ...(expiresAt && { expiresAt: new Date(expiresAt) }) };
    answers.push({ url: await signUrl(url, key, options), key: await generationKey(url, models), refusal: null });
  } catch (error) {
    if (!(error instanceof NotSignable)) throw error;
    answers.push({ url: null, key: null, refusal: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
