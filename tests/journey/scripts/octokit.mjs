// Calls GitHub's API by Octokit, unmodified: BASE_URL and TOKEN are all that differ.
import { Octokit } from "octokit";

const octokit = new Octokit({ baseUrl: process.env.BASE_URL, auth: process.env.TOKEN });
const { data: user } = await octokit.rest.users.getAuthenticated();
const { data: repository } = await octokit.rest.repos.get({ owner: "octocat", repo: "Hello-World" });
let refusal;
try {
  await octokit.rest.repos.delete({ owner: "octocat", repo: "Hello-World" });
} catch (error) {
  // Octokit leaves `application/problem+json` as bytes.
  const problem = JSON.parse(Buffer.from(error.response.data).toString());
  refusal = { status: error.status, code: problem.code };
}
console.log(JSON.stringify({ login: user.login, repository: repository.full_name, refusal }));
