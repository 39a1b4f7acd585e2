// Shows a point cloud that the page carries: turn by dragging, nearer by the wheel. Bundled by `make viewer`.
import { BufferAttribute, BufferGeometry, Color, PerspectiveCamera, Points, PointsMaterial, Scene, WebGLRenderer } from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

const bytes = (id) => Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
const positions = new Float32Array(bytes("positions").buffer);
const geometry = new BufferGeometry();
geometry.setAttribute("position", new BufferAttribute(positions, 3));
geometry.setAttribute("color", new BufferAttribute(bytes("colours"), 3, true));
geometry.computeBoundingSphere();
const { center, radius } = geometry.boundingSphere;

const scene = new Scene();
scene.background = new Color(0x202124);
const material = new PointsMaterial({ size: 2, sizeAttenuation: false, vertexColors: true });
scene.add(new Points(geometry, material));
const renderer = new WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
document.body.append(renderer.domElement);
const camera = new PerspectiveCamera(50, 1, radius / 1000, radius * 20);
camera.position.set(0, 0, 0); // where the picture was taken from
const controls = new OrbitControls(camera, renderer.domElement);
controls.target.copy(center);

const turn = Number(new URLSearchParams(location.search).get("turn") ?? 0);
if (turn) {
  const [x, z] = [camera.position.x - center.x, camera.position.z - center.z];
  const [c, s] = [Math.cos(turn), Math.sin(turn)];
  camera.position.set(center.x + c * x + s * z, camera.position.y, center.z - s * x + c * z);
}
const draw = () => {
  controls.update();
  renderer.render(scene, camera);
};
const fit = () => {
  renderer.setPixelRatio(devicePixelRatio);
  renderer.setSize(innerWidth, innerHeight);
  camera.aspect = innerWidth / innerHeight;
  camera.updateProjectionMatrix();
  draw();
};
controls.addEventListener("change", () => renderer.render(scene, camera));
addEventListener("resize", fit);
addEventListener("keydown", (event) => {
  if (event.key === "+" || event.key === "-") {
    material.size = Math.max(1, material.size + (event.key === "+" ? 1 : -1));
    draw();
  }
});
fit();
document.body.dataset.ready = String(positions.length / 3);
