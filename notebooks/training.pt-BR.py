# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # CIFAR-10: uma rede convolucional, passo a passo, e a mesma com o Lince
#
# *This notebook in English: `training.py`, or `training.ipynb` in Jupyter.*
#
# O CIFAR-10 tem 60.000 imagens coloridas de 32 × 32 pixels em dez classes, como gatos, navios e caminhões. Na primeira
# parte você constrói e treina uma rede convolucional com o Keras, com todas as linhas à vista. Na segunda parte, o
# Lince faz o mesmo em seis chamadas. Depois os dois resultados são comparados, a rede é convertida para inteiros de 8
# bits e um serviço responde a uma imagem por HTTP.
#
# Este notebook é guardado como texto. `make notebook` o abre no Jupyter; `make notebook QUICK=1` o abre no modo rápido.
# O código é o mesmo da versão em inglês, por isso seus nomes, comentários e resultados estão em inglês.

# %% [markdown]
# ## Importações
#
# O TensorFlow e o Keras constroem e treinam a rede, o NumPy guarda as imagens, o Matplotlib desenha.
# `backend.prepare()` dá ao TensorFlow uma *thread*, uma linha de execução, para cada núcleo do processador. Ele precisa
# ser chamado antes de importar o TensorFlow.

# %%
# %matplotlib inline
from lince.training import backend

backend.prepare()

import http.client
import io
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from IPython.display import Markdown
from PIL import Image
from rich.console import Console
from tensorflow import keras

from lince import data, pipeline
from lince.inference.classifier import Classifier
from lince.progress import silent
from lince.quantization import certificate
from lince.reporting import plots
from lince.reporting.run_report import write_run_report
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.types import ImageSpec

tf.get_logger().setLevel("ERROR")  # no line for each network that is written
print("TensorFlow", tf.__version__, "· Keras", keras.__version__, "· NumPy", np.__version__)

# %% [markdown]
# ## Modo rápido
#
# Com o CIFAR-10, o notebook inteiro leva horas em dois núcleos: um download de 170 MB e dois treinamentos de até 100
# épocas. O modo rápido leva uns dois minutos. Ele troca o CIFAR-10 por 1.000 imagens pequenas que a próxima célula
# desenha, em quatro classes: cruz (*cross*), disco (*disc*), quadrado (*square*) e listras (*stripes*). A rede tem um
# quarto da largura e é treinada por 15 épocas.
#
# O modo rápido mostra que cada passo funciona. **Os números dele não significam nada**: não dizem nada sobre o CIFAR-10
# e, com tão poucas imagens de teste, mudam de uma execução para outra.

# %%
QUICK = os.environ.get("LINCE_NOTEBOOK_QUICK") == "1"  # or write True here
LANGUAGE = "pt"  # of the report and of the verdict: "en" or "pt"
SEED = 0
keras.utils.set_random_seed(SEED)


def draw(shape: str, rng: np.random.Generator) -> np.ndarray:
    """One picture u8[32,32,3]: a shape at a random place, in random colours, with noise."""
    y, x = np.mgrid[:32, :32] - rng.integers(11, 21, (2, 1, 1))
    near, far, size = np.minimum(abs(x), abs(y)), np.maximum(abs(x), abs(y)), rng.integers(6, 10)
    masks = {"cross": (near < 2) & (far < size), "disc": x**2 + y**2 < size**2, "square": far < size}
    mask = masks.get(shape, x // 4 % 2 == 0)  # stripes
    picture = np.where(mask[..., None], rng.integers(100, 256, 3), rng.integers(0, 160, 3))
    return np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)


def draw_dataset(folder: Path) -> str:
    """Writes train/CLASS/NUMBER.png and test/CLASS/NUMBER.png: a dataset as Lince reads it."""
    rng = np.random.default_rng(SEED)
    for split, count in (("train", 200), ("test", 50)):
        for shape in ("cross", "disc", "square", "stripes"):
            (folder / split / shape).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(draw(shape, rng)).save(folder / split / shape / f"{number:03}.png")
    return str(folder)


SOURCE = draw_dataset(Path("runs/drawn")) if QUICK else "cifar10"
print("Quick mode: drawn pictures, a small network. The numbers mean nothing." if QUICK else "CIFAR-10.")

# %% [markdown]
# # Parte 1: com o Keras
#
# ## As imagens
#
# `data.load` baixa o CIFAR-10 na primeira vez e confere o arquivo pela soma de verificação. Uma imagem é um arranjo
# (*array*) de 32 × 32 pixels com três cores cada, de 0 a 255. A rede aprende mais rápido com números pequenos, por isso
# as imagens são *normalizadas* para valores de 0 a 1.

# %%
dataset = data.load(SOURCE, ImageSpec(), seed=SEED)
classes = dataset.train.classes
x_train = dataset.train.images[:].astype("float32") / 255
x_test = dataset.test.images[:].astype("float32") / 255
print("train", x_train.shape, "test", x_test.shape, "values", x_train.min(), "to", x_train.max())
print(len(classes), "classes:", ", ".join(classes))

# %% [markdown]
# Um rótulo é o número de uma classe. A rede tem uma saída para cada classe, por isso os rótulos viram vetores
# *one-hot*: 1 na posição da classe e 0 nas outras.
#
# O Keras vai separar os últimos 20% das imagens de treino para a validação. Antes disso elas são embaralhadas, porque
# uma pasta de imagens vem ordenada por classe.

# %%
order = np.random.default_rng(SEED).permutation(len(x_train))
x_train, labels = x_train[order], dataset.train.labels[order]
y_train = keras.utils.to_categorical(labels, len(classes))
y_test = keras.utils.to_categorical(dataset.test.labels, len(classes))
print(classes[labels[0]], "is class", labels[0], "and one-hot", y_train[0])

# %% [markdown]
# Olhe as imagens antes de treinar. Rótulos errados e imagens inadequadas são vistos em um minuto, e nenhuma rede os
# conserta.


# %%
def show(pictures: np.ndarray, titles: list[str], columns: int = 8) -> None:
    """Draws pictures f32[N,H,W,3] from 0 to 1 in a grid."""
    rows = -(-len(pictures) // columns)
    size = (1.3 * columns, 1.5 * rows)
    _, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, picture, title in zip(grid.flat, pictures, titles, strict=False):
        axes.imshow(np.clip(picture, 0, 1))
        axes.set_title(title, fontsize=9)
    plt.show()


show(x_train[:16], [classes[label] for label in labels[:16]])

# %% [markdown]
# ## Aumento de dados
#
# Um gato um pouco inclinado, um pouco mais perto ou virado para o outro lado continua sendo um gato. Cada imagem de
# treino é girada, ampliada e espelhada ao acaso, de novo em cada *época*: uma passagem por todas as imagens. Assim a
# rede quase nunca vê os mesmos pixels duas vezes: ela aprende formas em vez de decorar imagens. As três camadas fazem
# parte da rede. Elas só atuam no treinamento; as imagens de validação e de teste ficam como são. Abaixo, a primeira
# coluna é a original.

# %%
augmentation = keras.Sequential(
    [
        keras.layers.RandomRotation(10 / 360),  # up to 10 degrees, as a share of a whole turn
        keras.layers.RandomZoom(0.1),
        keras.layers.RandomFlip("horizontal"),
    ],
    name="augmentation",
)
drawn = [x_train[:3], *(np.asarray(augmentation(x_train[:3], training=True)) for _ in range(7))]
show(np.stack(drawn, axis=1).reshape(-1, 32, 32, 3), (["original"] + ["augmented"] * 7) * 3)

# %% [markdown]
# ## A rede
#
# - Uma **convolução** desliza pequenos filtros sobre a imagem, e cada filtro aprende a encontrar um padrão. A **ReLU**
#   troca resultados negativos por 0. Sem ela, várias camadas não conseguiriam calcular mais do que uma só.
# - O **max pooling** reduz altura e largura à metade e guarda o resultado mais forte de cada campo de 2 × 2.
# - O **dropout** zera alguns valores ao acaso durante o treinamento, para que a rede não dependa de nenhum deles
#   sozinho.
# - As camadas **densas** combinam tudo. A última, com **softmax**, dá uma probabilidade para cada classe.

# %%
width = 16 if QUICK else 64
model = keras.Sequential(
    [
        keras.Input((32, 32, 3)),
        augmentation,
        keras.layers.Conv2D(width, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(width, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.15),
        keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.25),
        keras.layers.Conv2D(4 * width, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(4 * width, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.35),
        keras.layers.Flatten(),
        keras.layers.Dense(4 * width, activation="relu"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(len(classes), activation="softmax"),
    ]
)
model.summary()

# %% [markdown]
# ## Treinamento
#
# O otimizador **adam** ajusta os pesos depois de cada lote de imagens para diminuir a **entropia cruzada categórica**:
# a diferença entre as probabilidades e os rótulos one-hot. Esse valor é a *perda* (*loss*). A **acurácia** é a fração
# de respostas certas.
#
# Depois de cada época, a rede é medida nos 20% separados para a validação. A **parada antecipada** (*early stopping*)
# encerra o treinamento quando a perda de validação não diminui por 10 épocas e recupera os pesos da melhor época.

# %%
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
early_stopping = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)

began = time.perf_counter()
history = model.fit(
    x_train,
    y_train,
    batch_size=32 if QUICK else 128,
    epochs=15 if QUICK else 100,
    validation_split=0.2,
    callbacks=[early_stopping],
    verbose=2,
)
keras_seconds = time.perf_counter() - began

# %% [markdown]
# ## As curvas
#
# O *sobreajuste* (*overfitting*) começa onde a curva de treino ainda melhora e a de validação piora: a rede está
# decorando imagens. A linha pontilhada marca a época cujos pesos são mantidos. A acurácia de treino pode ficar abaixo
# da de validação, porque o dropout e o aumento de dados dificultam as imagens de treino de propósito.

# %%
best = int(np.argmin(history.history["val_loss"])) + 1
epochs = range(1, len(history.history["loss"]) + 1)
_, panels = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for axes, name in zip(panels, ("accuracy", "loss"), strict=True):
    axes.plot(epochs, history.history[name], label="training")
    axes.plot(epochs, history.history[f"val_{name}"], label="validation")
    axes.axvline(best, color="grey", linestyle=":", label=f"best epoch ({best})")
    axes.set(xlabel="epoch", ylabel=name)
    axes.grid(alpha=0.3)
    axes.legend()
plt.show()

# %% [markdown]
# ## A acurácia de teste
#
# As imagens de teste não participaram de nenhuma escolha. Por isso a acurácia nelas diz o que esperar de imagens novas
# do mesmo tipo.

# %%
test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy {test_accuracy:.1%}, test loss {test_loss:.3f}, {len(x_test):,} test pictures")

# %% [markdown]
# # Parte 2: o mesmo com o Lince, em seis chamadas
#
# Uma *receita* é um arquivo com tudo o que define um treinamento. A `classic` é a rede acima, com o mesmo aumento de
# dados e a mesma parada antecipada. `lince train cifar10 --recipe classic` faz tudo isso pela linha de comando.
#
# 1. `recipes.load` lê todos os hiperparâmetros de um arquivo. O modo rápido substitui alguns deles.
# 2. `pipeline.start` lê as imagens e separa 20% de cada classe para a validação.
# 3. `pipeline.train_model` treina. Ele mostra algumas das épocas e pode ser retomado depois de uma interrupção.
# 4. `pipeline.publish` converte a rede para inteiros de 8 bits e mede as duas nas imagens de teste.
# 5. `write_run_report` escreve uma página com as curvas, os erros e tudo o mais que foi medido.
# 6. `Classifier.load` abre o arquivo do modelo. Ele não precisa do Keras nem do TensorFlow.

# %%
smaller = [
    "model.blocks=[[16, 16], [32, 32], [64, 64]]",
    "model.dense=[64]",
    "train.epochs=15",
    "train.batch_size=32",
    "train.learning_rate=2e-3",
    "quantize.max_drop_points=100",  # with 200 test pictures one different answer is half a point
]
folder = RunFolder(Path("runs") / f"notebook-{datetime.now():%Y%m%d-%H%M%S}")

recipe = recipes.load("classic", smaller if QUICK else [])
run = pipeline.start(SOURCE, recipe, folder, seed=SEED, deterministic=False, strict=False, progress=silent)
with pipeline.watch(Console(force_terminal=False, force_jupyter=False), run, tensorboard=False) as display:
    began = time.perf_counter()
    pipeline.train_model(run, display)
    lince_seconds = time.perf_counter() - began
report = pipeline.publish(run, say=print)
write_run_report(folder, language=LANGUAGE)
classifier = Classifier.load(folder.model)

# %% [markdown]
# ## Lado a lado
#
# As duas redes têm as mesmas camadas. O Lince treina em *bfloat16*, números de 16 bits com a amplitude do float32 e
# menos casas, quando o processador tem instruções para isso: é mais rápido que o float32 da parte com o Keras. O
# primeiro tamanho é o dos pesos em float32. O segundo é o do arquivo do modelo inteiro, com os rótulos e o certificado.
# As linhas da tabela: acurácia de teste, tempo de treinamento, tamanho e tempo de resposta para uma imagem.


# %%
def milliseconds(answer, picture: np.ndarray, runs: int = 50) -> float:
    """The median time of one answer for one picture."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        answer(picture)
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times))


def table(*rows: tuple[str, ...]) -> Markdown:
    """A table; the first row has the names of the columns."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


int8 = report.int8.accuracy
keras_ms = milliseconds(model.predict_on_batch, x_test[:1])
lince_ms = milliseconds(classifier.predict, dataset.test.images[:1])
table(
    ("(means nothing: quick mode)" if QUICK else "", "Keras, float32", "Lince, int8"),
    ("test accuracy", f"{test_accuracy:.1%}", f"{int8.value:.1%}"),
    ("training", f"{keras_seconds:.0f} s", f"{lince_seconds:.0f} s"),
    ("size", f"{4 * model.count_params() / 1e3:,.0f} kB", f"{folder.model.stat().st_size / 1e3:,.0f} kB"),
    ("one picture", f"{keras_ms:.2f} ms", f"{lince_ms:.2f} ms"),
)

# %% [markdown]
# A matriz de confusão mostra quais classes são confundidas: as linhas são as classes verdadeiras; as colunas, as
# respostas da rede int8.

# %%
plots.confusion_figure(report.int8, classes)

# %% [markdown]
# ## Quantização, com o certificado
#
# A *quantização* converte pesos e resultados intermediários de ponto flutuante de 32 bits para inteiros de 8 bits. A
# rede fica com um quarto do tamanho, e processadores pequenos a calculam mais rápido. Parte da acurácia pode se perder.
# Por isso a rede em ponto flutuante e a rede int8 respondem às mesmas imagens de teste. O *certificado* declara a
# diferença com o seu intervalo. Uma rede que comprovadamente perde mais do que a receita permite não é publicada.

# %%
facts = certificate.table(report.certificate)
table(facts.header, *facts.rows)

# %% [markdown]
# O veredito sobre o modelo, em palavras simples:

# %%
Markdown(report.verdict.text_in(LANGUAGE))

# %% [markdown]
# ## O serviço
#
# `lince serve` responde por HTTP. A célula abaixo o inicia em uma porta livre deste computador, espera até que ele
# esteja pronto, envia a primeira imagem de teste, mostra a resposta em JSON e o encerra.
#
# - `label` é a classe mais provável. A `probability` dela é calibrada: das respostas dadas com 90%, cerca de 90%
#   estão certas.
# - `prediction_set` traz todas as classes que não podem ser descartadas. Ele contém a classe certa em 95% das imagens.
# - `abstain` é verdadeiro quando a resposta honesta é "não sei".

# %%
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
picture = io.BytesIO()
Image.fromarray(dataset.test.images[0]).save(picture, "PNG")

command = [sys.executable, "-m", "lince", "serve", str(folder.path), "--port", str(port)]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(300):  # it is ready after about a second
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    connection.request("POST", "/predict?top=3", picture.getvalue(), {"content-type": "image/png"})
    answer = json.load(connection.getresponse())
finally:
    server.terminate()
    server.wait()

show(x_test[:1], [f"true class: {classes[dataset.test.labels[0]]}"], columns=4)
print(json.dumps(answer, indent=2, ensure_ascii=False))

# %% [markdown]
# ## E agora?
#
# A pasta do treinamento guarda o relatório, que abre no navegador, e o arquivo do modelo. A célula mostra onde estão, e
# três comandos para digitar em um terminal: o primeiro serve uma página para experimentar o modelo, o segundo
# classifica uma pasta de imagens, o terceiro treina com as suas próprias classes.

# %%
lince = f"{shlex.quote(sys.executable)} -m lince"
run = shlex.quote(str(folder.path.resolve()))
print("Report:", folder.page.resolve())
print()
print(f"{lince} serve {run}                # a page to try it: http://127.0.0.1:8000")
print(f"{lince} predict {run} pictures/    # a folder, a .zip or single files")
print(f"{lince} train my-images/           # your own classes: a folder of pictures for each")
