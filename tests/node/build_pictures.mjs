// Call the compiled modules of client/: {folder, calls: [[function, ...arguments]]} in, answers or names of errors out.
import { register } from "node:module";
import { pathToFileURL } from "node:url";

// They import one another as bundlers do, without an ending.
const ending = `export const resolve = (name, context, next) => next(/^\\.\\/\\w+$/.test(name) ? name + ".js" : name, context);`;
register(`data:text/javascript,${encodeURIComponent(ending)}`);

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { folder, calls } = JSON.parse(input);
const load = (name) => import(pathToFileURL(`${folder}/${name}.js`).href);
const { default: loader, ...others } = await load("next_loader");
const can = { ...(await load("picture_url")), ...(await load("srcset")), ...others, loader };

const answers = calls.map(([name, ...given]) => {
  try {
    return { answer: can[name](...given), error: null };
  } catch (error) {
    return { answer: null, error: error.name };
  }
});
process.stdout.write(JSON.stringify(answers));
