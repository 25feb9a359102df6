// Makes one HTTP/1.1 call and tells the trailers of its answer.
import { get } from "node:http";

const [url, token] = process.argv.slice(2);
const headers = { authorization: `Bearer ${token}`, te: "trailers", connection: "te" };
get(url, { headers }, (answer) => {
  answer.resume();
  answer.on("end", () =>
    console.log(JSON.stringify({ status: answer.statusCode, trailers: answer.trailers })),
  );
});
